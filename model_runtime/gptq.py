"""GPTQ checkpoints as AutoGPTQ and GPTQModel write them, read layer by layer.

GPTQ (Frantar et al. 2023) rounds weights one column after the other and corrects the rest for each one's error; what it
leaves behind are plain codes in groups. Of a layer with ``inputs`` and ``outputs`` a checkpoint holds

- ``qweight`` int32 [inputs * bits / 32, outputs]: codes along the inputs, lowest bits first;
- ``qzeros`` int32 [groups, outputs * bits / 32]: zero points along the outputs;
- ``scales`` [groups, outputs], and ``g_idx`` int32 [inputs]: the group of each input, out of order with act-order
  (``desc_act``).

In the format ``gptq`` the zero points are stored less one, in ``gptq_v2`` as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dialogue.faults import ModelFault
from model_runtime.grouped import Grouped, unpack_columns, unpack_rows

__all__ = ["SUFFIXES", "gptq_layer"]

SUFFIXES = ("qweight", "qzeros", "scales", "g_idx")
_FORMATS = ("gptq", "gptq_v2")
_BITS = (4, 8)


def gptq_layer(name: str, part: Callable[[str], Tensor | None], told: dict[str, Any]) -> Grouped:
    """The layer ``name``; ``part`` gives its tensors by their suffix, ``told`` is the checkpoint's quantization_config.

    Raises :class:`ModelFault` where it is in a format, or has a number of bits, that is not known here.
    """
    form = told.get("checkpoint_format") or told.get("format") or "gptq"
    if form not in _FORMATS:
        raise ModelFault(f"the checkpoint's format is {form!r}: save it as gptq, which every writer of GPTQ can")
    qweight, qzeros, scales, group_of = (part(suffix) for suffix in SUFFIXES)
    if qweight is None or qzeros is None or scales is None:
        raise ModelFault(f"{name}: qweight, qzeros or scales is missing: fetch the checkpoint again")
    # a checkpoint may hold some layers in more bits than its config says: the shapes know
    bits = int(told.get("bits", 4)) if group_of is None else 32 * qweight.shape[0] // max(1, group_of.shape[0])
    if bits not in _BITS:
        raise ModelFault(f"{name}: has {bits} bits; this engine takes GPTQ of 4, and of 8 without groups")
    return Grouped(
        name=name,
        bits=bits,
        codes=unpack_rows(qweight, bits).T.contiguous(),
        scales=scales.float().T.contiguous(),
        zeros=unpack_columns(_as_meant(qzeros, bits) if form == "gptq" else qzeros, bits).T.to(torch.int32),
        group_of=None if group_of is None else group_of.long(),
    )


def _as_meant(qzeros: Tensor, bits: int) -> Tensor:
    """Zero points with the one that ``gptq`` takes off put back: on the packed words, carries and all, for that is how
    a zero point of 0 was written."""
    ones = sum(1 << shift for shift in range(0, 32, bits))
    return (qzeros.long() + ones).to(torch.int32)
