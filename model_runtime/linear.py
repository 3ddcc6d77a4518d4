"""Linear layers over held weights: dense, int8 (a scale per output channel) and int4 (scale and zero per group).

On the CPU the int8 and int4 products are ATen's own packed kernels. Each output element is summed in one order
whatever the number of rows, so they are batch-invariant by themselves. On other devices the weight is
dequantized for each product: the memory is saved, the speed is that of a dense product.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["GROUP", "Dense", "Int4", "Int8", "Joined", "Linear", "load_linear", "unpack_int4"]

GROUP = 32
"""Weights that share one int4 scale and zero: that of GGUF's Q4_1, so that such a source loses next to nothing."""


class Linear(Protocol):
    def __call__(self, x: Tensor) -> Tensor:
        """[rows, inputs] -> [rows, outputs]."""
        ...

    @property
    def nbytes(self) -> int: ...


class Dense:
    """``weight`` [outputs, inputs], ``bias`` [outputs] or none."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias
        self.nbytes = weight.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)

    def rows(self, index: Tensor) -> Tensor:
        return self._weight[index]


class Int8:
    """``weight`` int8 [outputs, inputs], ``scale`` [outputs]: ``weight * scale`` is what was quantized."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        self._weight, self._scale, self._bias = weight, scale, bias
        self.nbytes = weight.nbytes + scale.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            y = torch.ops.aten._weight_int8pack_mm(x, self._weight, self._scale)
        else:
            y = functional.linear(x, self._weight.to(x.dtype)) * self._scale
        return y if self._bias is None else y + self._bias

    def rows(self, index: Tensor) -> Tensor:
        """Rows of the table, dequantized: an embedding lookup."""
        return self._weight[index].to(self._scale.dtype) * self._scale[index, None]


class Int4:
    """``packed`` uint8 [outputs, inputs / 2], low nibble first; ``scale`` and ``zero`` [outputs, groups]:
    ``(nibble - 8) * scale + zero`` is what was quantized. ``order`` [inputs]: which input stands at each place of the
    packed rows, where that is not its own (GPTQ's act-order). The size of a group is that of its own scales."""

    def __init__(
        self, packed: Tensor, scale: Tensor, zero: Tensor, bias: Tensor | None, order: Tensor | None = None
    ) -> None:
        self._bias, self._order = bias, order
        self._group = 2 * packed.shape[1] // scale.shape[1]
        self._cpu = packed.device.type == "cpu"
        if self._cpu:
            nibbles = unpack_int4(packed).to(torch.int32)
            self._packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(nibbles, 1)
            self._scales_zeros = torch.stack([scale, zero], -1).transpose(0, 1).contiguous()
        else:
            self._packed = packed
            self._scales_zeros = torch.stack([scale, zero], -1)
        self.nbytes = packed.nbytes + self._scales_zeros.nbytes + (0 if order is None else order.nbytes)

    def __call__(self, x: Tensor) -> Tensor:
        if self._order is not None:
            x = x.index_select(-1, self._order)
        if self._cpu:
            y = torch.ops.aten._weight_int4pack_mm_for_cpu(x, self._packed, self._group, self._scales_zeros)
        else:
            y = functional.linear(x, self._dequantized())
        return y if self._bias is None else y + self._bias

    def _dequantized(self) -> Tensor:
        nibbles = unpack_int4(self._packed)
        scale, zero = self._scales_zeros.unbind(-1)
        groups = nibbles.view(nibbles.shape[0], -1, self._group).to(scale.dtype) - 8
        return (groups * scale[..., None] + zero[..., None]).view(nibbles.shape)


class Joined(Int4):
    """Layers of one input that are not held alike, their outputs one after the other: a product each.

    A checkpoint from elsewhere may hold some layers in more bits, or each in an input order of its own. It is no table
    to look up in, as ``Int4`` is none.
    """

    def __init__(self, parts: list[Dense | Int8 | Int4]) -> None:
        self._parts = parts
        self.nbytes = sum(part.nbytes for part in parts)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self._parts], -1)


def unpack_int4(packed: Tensor) -> Tensor:
    """uint8 [outputs, inputs / 2] -> uint8 [outputs, inputs] of nibbles."""
    return torch.stack([packed & 15, packed >> 4], -1).flatten(-2)


def load_linear(weights: dict[str, Tensor], names: list[str], dtype: torch.dtype) -> Dense | Int8 | Int4:
    """The layers ``names`` as one, their outputs one after the other: one product instead of several where they are
    held alike. Which way is read from the names and shapes of their tensors (see ``quantize`` and ``grouped``).
    """
    if not _alike(weights, names):
        return Joined([load_linear(weights, [name], dtype) for name in names])

    def joined(suffix: str) -> Tensor:
        return torch.cat([weights[f"{name}.{suffix}"] for name in names])

    bias = joined("bias").to(dtype) if f"{names[0]}.bias" in weights else None
    if f"{names[0]}.weight_int8" in weights:
        return Int8(joined("weight_int8"), joined("weight_scale").to(dtype), bias)
    if f"{names[0]}.weight_int4" in weights:
        order = weights.get(f"{names[0]}.weight_order")
        return Int4(
            joined("weight_int4"),
            joined("weight_scale").to(dtype),
            joined("weight_zero").to(dtype),
            bias,
            None if order is None else order.to(torch.int64, copy=True),
        )
    return Dense(joined("weight").to(dtype), bias)


def _alike(weights: dict[str, Tensor], names: list[str]) -> bool:
    """Whether one product can take them all: one form, one group size, one order of the inputs, all with a bias or
    none."""
    forms = {
        (
            next((form for form in ("weight_int8", "weight_int4") if f"{name}.{form}" in weights), "weight"),
            weights[f"{name}.weight_zero"].shape[1] if f"{name}.weight_zero" in weights else None,
            f"{name}.weight_order" in weights,
            f"{name}.bias" in weights,
        )
        for name in names
    }
    if len(forms) > 1:
        return False
    orders = [weights[f"{name}.weight_order"] for name in names if f"{name}.weight_order" in weights]
    return all(torch.equal(order, orders[0]) for order in orders[1:])
