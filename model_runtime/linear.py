"""Linear layers over held weights: dense, int8 (a scale per output channel) and int4 (scale and zero per group).

On a CPU that multiplies bfloat16, dense and int8 weights are held as oneDNN packs them: int8 weights become bfloat16
then, which costs memory and saves time. Sixty layers of 3,072 x 576, one thread of an EPYC with AVX-512 BF16, ms for
all of them by the number of rows; the first two columns give the same results to the last bit:

====  ===========  ============  =============  =============
rows  bf16 packed  bf16 as read  int8's kernel  int4's kernel
====  ===========  ============  =============  =============
1     15           26            16             6
8     17           33            34             21
32    40           55            104            81
256   255                        763            647
====  ===========  ============  =============  =============

int4 is ATen's own packed kernel, and so is int8 where bfloat16 is not multiplied. Each output element is summed in one
order whatever the number of rows, so all of them are batch-invariant by themselves; but for one row alone, for which
oneDNN has another kernel. On other devices the weight is dequantized for each product: the memory is saved, the speed
is that of a dense product.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["GROUP", "Dense", "Int4", "Int8", "Joined", "Linear", "load_linear", "unpack_int4"]

GROUP = 32
"""Weights that share one int4 scale and zero: that of GGUF's Q4_1, so that such a source loses next to nothing."""


_PACKED_FOR_ROWS = 8


class Linear(Protocol):
    def __call__(self, x: Tensor) -> Tensor:
        """[rows, inputs] -> [rows, outputs]."""
        ...

    @property
    def nbytes(self) -> int: ...


class _Table:
    """A weight as it was read, where its rows are looked up or it is not packed."""

    _weight: Tensor | None

    @property
    def table(self) -> Tensor:
        if self._weight is None:
            raise TypeError("a packed weight has no rows: load it with lookup")
        return self._weight


class Dense(_Table):
    """``weight`` [outputs, inputs], ``bias`` [outputs] or none. ``lookup``: its rows are looked up too."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, lookup: bool = False) -> None:
        self._packed = _packed(weight)
        self._weight = weight if lookup or self._packed is None else None
        self._bias = bias
        self.nbytes = weight.nbytes * ((self._packed is not None) + (self._weight is not None))

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed is not None:
            return _multiply(x, self._packed, self._bias)
        return functional.linear(x, self.table, self._bias)

    def rows(self, index: Tensor) -> Tensor:
        return self.table[index]


class Int8(_Table):
    """``weight`` int8 [outputs, inputs], ``scale`` [outputs]: ``weight * scale`` is what was quantized. ``lookup``: its
    rows are looked up too."""

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None, *, lookup: bool = False) -> None:
        self._scale, self._bias = scale, bias
        packable = _packs(weight.device, scale.dtype)
        self._packed = _packed(weight.to(scale.dtype) * scale[:, None]) if packable else None
        self._weight = weight if lookup or self._packed is None else None
        self.nbytes = scale.nbytes + (weight.nbytes if self._weight is not None else 0)
        self.nbytes += 2 * weight.nbytes if self._packed is not None else 0

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed is not None:
            return _multiply(x, self._packed, self._bias)
        if x.device.type == "cpu":
            y = torch.ops.aten._weight_int8pack_mm(x, self.table, self._scale)
        else:
            y = functional.linear(x, self.table.to(x.dtype)) * self._scale
        return y if self._bias is None else y + self._bias

    def rows(self, index: Tensor) -> Tensor:
        """Rows of the table, dequantized: an embedding lookup."""
        return self.table[index].to(self._scale.dtype) * self._scale[index, None]


def _packs(device: torch.device, dtype: torch.dtype) -> bool:
    return device.type == "cpu" and dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _packed(weight: Tensor) -> Tensor | None:
    """As oneDNN wants it; ``None`` where it does not multiply such a weight here."""
    if not _packs(weight.device, weight.dtype):
        return None
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_FOR_ROWS)


def _multiply(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    if x.shape[0] == 1:  # in company, or another kernel would sum in another order (seen in 3 of 120 products)
        return torch.ops.mkldnn._linear_pointwise(x.expand(2, -1).contiguous(), packed, bias, "none", [], "")[:1]
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


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


def load_linear(
    weights: dict[str, Tensor], names: list[str], dtype: torch.dtype, *, lookup: bool = False
) -> Dense | Int8 | Int4:
    """The layers ``names`` as one, their outputs one after the other: one product instead of several where they are
    held alike. Which way is read from the names and shapes of their tensors (see ``quantize`` and ``grouped``).
    ``lookup``: their rows are looked up too.
    """
    if not _alike(weights, names):
        return Joined([load_linear(weights, [name], dtype) for name in names])

    def joined(suffix: str) -> Tensor:
        return torch.cat([weights[f"{name}.{suffix}"] for name in names])

    bias = joined("bias").to(dtype) if f"{names[0]}.bias" in weights else None
    if f"{names[0]}.weight_int8" in weights:
        return Int8(joined("weight_int8"), joined("weight_scale").to(dtype), bias, lookup=lookup)
    if f"{names[0]}.weight_int4" in weights:
        order = weights.get(f"{names[0]}.weight_order")
        return Int4(
            joined("weight_int4"),
            joined("weight_scale").to(dtype),
            joined("weight_zero").to(dtype),
            bias,
            None if order is None else order.to(torch.int64, copy=True),
        )
    return Dense(joined("weight").to(dtype), bias, lookup=lookup)


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
