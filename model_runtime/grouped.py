"""Four-bit layers of checkpoints that others made, as ``linear`` holds them: the same integer codes, nothing rounded
anew but scales and zeros, which become bf16."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dialogue.faults import ModelFault

__all__ = ["Grouped", "unpack_columns", "unpack_rows"]

Held = list[tuple[str, Tensor]]
_GROUPS = (256, 128, 64, 32)
"""Inputs that share a scale: all that the CPU's int4 kernel takes."""
_MIDDLE = 8
"""The code that stands for the zero of ``linear.Int4``."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """A layer as its checkpoint means it: ``(codes - zeros) * scales``.

    ``codes`` uint8 [outputs, inputs]; ``scales`` float32 and ``zeros`` int32, both [outputs, groups]; ``group_of``
    [inputs] is the group of each input, ``None`` where groups lie one after the other.
    """

    name: str
    bits: int
    codes: Tensor
    scales: Tensor
    zeros: Tensor
    group_of: Tensor | None = None

    def held(self) -> Held:
        """The tensors of a prepared file.

        Raises :class:`ModelFault` where our kernels cannot hold the layer exactly, or its tensors do not fit together.
        """
        self._check()
        return self._int4() if self.bits == 4 else self._int8()

    def _int4(self) -> Held:
        order = self._order()
        codes = self.codes if order is None else self.codes[:, order]
        repeat = self._repeat()
        scale = self.scales.to(torch.bfloat16).repeat_interleave(repeat, 1)
        zero = (_MIDDLE - self.zeros.repeat_interleave(repeat, 1)) * scale.float()
        held = [
            (f"{self.name}.weight_int4", codes[:, 0::2] | (codes[:, 1::2] << 4)),
            (f"{self.name}.weight_scale", scale),
            (f"{self.name}.weight_zero", zero.to(torch.bfloat16)),
        ]
        return held if order is None else [*held, (f"{self.name}.weight_order", order.to(torch.int32))]

    def _int8(self) -> Held:
        """Our int8 has one scale a row and no zero: eight bits in groups fit it only where all groups agree."""
        scale = self.scales.to(torch.bfloat16)
        if self.bits != 8 or not (bool((scale == scale[:, :1]).all()) and bool((self.zeros == 128).all())):
            raise ModelFault(
                f"{self.name}: holds {self.bits} bits in groups of {self._group()}, which this engine cannot hold as "
                "they are: build from the checkpoint it was made from with --method int8, or take one of 4 bits"
            )
        weight = (self.codes.to(torch.int16) - 128).to(torch.int8)
        return [(f"{self.name}.weight_int8", weight), (f"{self.name}.weight_scale", scale[:, 0].contiguous())]

    def _group(self) -> int:
        return self.codes.shape[1] // self.scales.shape[1]

    def _repeat(self) -> int:
        """How often each group is written: our kernels take small groups, and two halves of one have its scale."""
        taken = next((group for group in _GROUPS if self._group() % group == 0), None)
        if taken is None:
            raise ModelFault(
                f"{self.name}: its groups have {self._group()} inputs; this engine takes multiples of {_GROUPS[-1]}: "
                "quantize again with such a group size"
            )
        return self._group() // taken

    def _order(self) -> Tensor | None:
        """The inputs sorted by their group, where they are not so already (act-order): then groups lie together."""
        if self.group_of is None or bool((self.group_of.diff() >= 0).all()):
            return None
        return torch.argsort(self.group_of, stable=True)

    def _check(self) -> None:
        outputs, inputs = self.codes.shape
        groups = self.scales.shape[1]
        fits = self.scales.shape == self.zeros.shape == (outputs, groups) and inputs % groups == 0
        if fits and self.group_of is not None:
            of = self.group_of
            fits = of.shape == (inputs,) and bool((of >= 0).all()) and bool((of < groups).all())
            fits = fits and bool((of.bincount(minlength=groups) == inputs // groups).all())
        if not fits:
            raise ModelFault(
                f"{self.name}: codes, scales, zeros and groups do not fit each other: the checkpoint is damaged, or "
                "packed in a way this engine does not know"
            )


def unpack_rows(packed: Tensor, bits: int) -> Tensor:
    """int32 [n, m] -> uint8 [n * 32 / bits, m]: the codes of a column one below the other, lowest bits first."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return ((packed[:, None] >> shifts[:, None]) & (1 << bits) - 1).flatten(0, 1).to(torch.uint8)


def unpack_columns(packed: Tensor, bits: int) -> Tensor:
    """int32 [n, m] -> uint8 [n, m * 32 / bits]: the codes of a row beside each other, lowest bits first."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    return ((packed[..., None] >> shifts) & (1 << bits) - 1).flatten(-2).to(torch.uint8)
