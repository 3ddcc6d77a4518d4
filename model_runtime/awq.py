"""AWQ checkpoints in the packing that AutoAWQ calls ``gemm``, read layer by layer.

AWQ (Lin et al. 2024) scales the inputs that matter before it rounds; the scaling is folded into the layers before, so
what a checkpoint holds are plain codes in groups: ``qweight`` int32 [inputs, outputs / 8], ``qzeros`` int32 [groups,
outputs / 8], both packed along the outputs in an order of their own, and ``scales`` [groups, outputs].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dialogue.faults import ModelFault
from model_runtime.grouped import Grouped, unpack_columns

__all__ = ["awq_layer"]

_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in a word the code of each of eight outputs stands."""


def awq_layer(name: str, part: Callable[[str], Tensor | None], told: dict[str, Any]) -> Grouped:
    """The layer ``name``; ``part`` gives its tensors by their suffix, ``told`` is the checkpoint's quantization_config.

    Raises :class:`ModelFault` where it is packed in another way, or has not four bits.
    """
    version, bits = str(told.get("version") or "gemm").lower(), int(told.get("bits") or told.get("w_bit") or 4)
    if version != "gemm" or bits != 4:
        raise ModelFault(f"the checkpoint is AWQ {version!r} of {bits} bits; this engine takes 'gemm' of 4: save it so")
    qweight, qzeros, scales = (part(suffix) for suffix in ("qweight", "qzeros", "scales"))
    if qweight is None or qzeros is None or scales is None:
        raise ModelFault(f"{name}: qweight, qzeros or scales is missing: fetch the checkpoint again")
    return Grouped(
        name=name,
        bits=4,
        codes=_unpack(qweight).T.contiguous(),
        scales=scales.float().T.contiguous(),
        zeros=_unpack(qzeros).T.to(torch.int32),
    )


def _unpack(packed: Tensor) -> Tensor:
    """int32 [n, outputs / 8] -> uint8 [n, outputs]."""
    words = unpack_columns(packed, 4).unflatten(-1, (-1, 8))
    return words[..., list(_PLACES)].flatten(-2)
