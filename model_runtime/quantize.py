"""Quantizes a checkpoint's weights, tensor by tensor, to what ``linear`` runs.

The embedding table (which is also the head where they are tied) becomes int8 in both quantized methods: its rows are
few per token, and four bits hurt it most. Norms and biases stay as they are. ``fp32`` keeps every number and computes
in float32, all others in bfloat16: for a comparison, or a device that does not multiply bfloat16.

``int8`` is the default because it is safe for any source. ``int4`` is the better choice where the source already
holds four bits in groups of 32 (GGUF's Q4_0 and Q4_1), which it keeps nearly whole. SmolLM2-135M from Q4_1, two
idle cores, one run; perplexity over 24 x 256 tokens, divergence from fp32 over 6 x 256:

======  =====  ==========  =============  ==================  ==================
method  MB     perplexity  KL divergence  ms a step, 1 row    ms a step, 8 rows
======  =====  ==========  =============  ==================  ==================
fp32    538    27.119
bf16    269    27.092      0.0023         15.9                19.7
int8    135    27.148      0.0065         9.8                 19.9
int4    95     27.129      0.0031         8.2                 15.3
======  =====  ==========  =============  ==================  ==================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from model_runtime.linear import GROUP

__all__ = ["METHODS", "Method", "quantize_tensor"]

Method = Literal["fp32", "bf16", "int8", "int4"]
METHODS: tuple[Method, ...] = ("fp32", "bf16", "int8", "int4")


def quantize_tensor(name: str, tensor: Tensor, method: Method) -> Iterator[tuple[str, Tensor]]:
    """The tensors that take the place of ``name`` in the prepared file."""
    is_table = name.endswith(("embed_tokens.weight", "lm_head.weight"))
    if method == "fp32":
        yield name, tensor.float().contiguous()
    elif method == "bf16" or tensor.ndim != 2 or not name.endswith(".weight"):
        yield name, tensor.to(torch.bfloat16).contiguous()
    elif method == "int8" or is_table or tensor.shape[1] % GROUP:
        weight, scale = _int8(tensor.float())
        yield f"{name}_int8", weight
        yield f"{name}_scale", scale
    else:
        packed, scale, zero = _int4(tensor.float())
        yield f"{name}_int4", packed
        yield f"{name}_scale", scale
        yield f"{name}_zero", zero


def _int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric, a scale per row. The scale is rounded to what the kernel reads before the weights are."""
    scale = (weight.abs().amax(1).clamp_min(1e-8) / 127).to(torch.bfloat16)
    quantized = (weight / scale.float()[:, None]).round().clamp(-127, 127)
    return quantized.to(torch.int8), scale


def _int4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Asymmetric, scale and zero per group of 32 along the inputs, spanned from the least to the greatest."""
    groups = weight.view(weight.shape[0], -1, GROUP)
    least, greatest = groups.amin(-1), groups.amax(-1)
    scale = ((greatest - least).clamp_min(1e-8) / 15).to(torch.bfloat16)
    zero = (least + 8 * scale.float()).to(torch.bfloat16)
    nibbles = ((groups - zero.float()[..., None]) / scale.float()[..., None]).round().add(8).clamp(0, 15)
    nibbles = nibbles.to(torch.uint8).view(weight.shape)
    return nibbles[:, 0::2] | (nibbles[:, 1::2] << 4), scale, zero
