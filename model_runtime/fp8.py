"""Weights of eight-bit floats in blocks, as DeepSeek and Qwen publish them: dequantized, to be quantized our way.

DeepSeek-V3 (its technical report of 2024, 3.3.2) holds a weight in float8_e4m3fn with one scale for each block of 128 x
128; the checkpoint calls it ``weight_scale_inv``, and it is what the block is multiplied with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dialogue.faults import ModelFault

__all__ = ["BLOCK", "SCALE", "dequantize_blocks"]

BLOCK = (128, 128)
SCALE = "weight_scale_inv"


def dequantize_blocks(name: str, weight: Tensor, scale: Tensor | None, block: tuple[int, int] = BLOCK) -> Tensor:
    """float8 [outputs, inputs] and a scale for each block, the last ones cut off -> bf16 [outputs, inputs].

    Raises :class:`ModelFault` where there is no such scale.
    """
    blocks = tuple(math.ceil(size / each) for size, each in zip(weight.shape, block, strict=True))
    if scale is None or tuple(scale.shape) != blocks:
        raise ModelFault(
            f"{name}: is FP8 without {SCALE} for its blocks of {block[0]} x {block[1]}: give the checkpoint in bf16"
        )
    whole = scale.float().repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    return (weight.float() * whole[: weight.shape[0], : weight.shape[1]]).to(torch.bfloat16)
