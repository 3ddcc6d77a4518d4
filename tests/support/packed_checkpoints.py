"""Checkpoints in the formats of others, written from known integers: GPTQ, AWQ and FP8 in blocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

__all__ = ["Known", "awq_tensors", "gptq_tensors", "known_layer", "rewrite"]


@dataclass(frozen=True, slots=True)
class Known:
    """``codes`` [inputs, outputs], ``zeros`` and ``scales`` [groups, outputs], ``group_of`` [inputs]."""

    codes: Tensor
    zeros: Tensor
    scales: Tensor
    group_of: Tensor

    def dense(self) -> Tensor:
        """What the layer means, [outputs, inputs], in float64; scales as bf16, in which they are held."""
        scales, of = self.scales.bfloat16().double(), self.group_of
        return ((self.codes - self.zeros[of]).double() * scales[of]).T


def known_layer(
    outputs: int, inputs: int, group: int, *, bits: int = 4, sym: bool = True, act_order: bool = False, seed: int = 0
) -> Known:
    """A random layer; with ``act_order`` inputs of a group lie anywhere."""
    generator = torch.Generator().manual_seed(seed)
    groups = inputs // group
    middle = 1 << (bits - 1)
    zeros = torch.full((groups, outputs), middle)
    if not sym:
        zeros = torch.randint(1 << bits, (groups, outputs), generator=generator)
    group_of = torch.arange(inputs) // group
    if act_order:
        group_of = group_of[torch.randperm(inputs, generator=generator)]
    return Known(
        codes=torch.randint(1 << bits, (inputs, outputs), generator=generator),
        zeros=zeros,
        scales=(torch.rand(groups, outputs, generator=generator) * 0.02 + 0.001).half(),
        group_of=group_of,
    )


def gptq_tensors(name: str, layer: Known, *, bits: int = 4, v2: bool = False) -> dict[str, Tensor]:
    """As AutoGPTQ (``v2`` False: zero points less one, taken off the packed words) or GPTQModel's v2 writes it."""
    per = 32 // bits
    qzeros = _words(layer.zeros.unflatten(1, (-1, per)), bits)
    if not v2:
        qzeros = (qzeros - sum(1 << shift for shift in range(0, 32, bits))) % (1 << 32)
    return {
        f"{name}.qweight": _int32(_words(layer.codes.T.unflatten(1, (-1, per)), bits).T),
        f"{name}.qzeros": _int32(qzeros),
        f"{name}.scales": layer.scales,
        f"{name}.g_idx": layer.group_of.to(torch.int32),
    }


def awq_tensors(name: str, layer: Known) -> dict[str, Tensor]:
    """As AutoAWQ's ``gemm`` writes it: of eight outputs the even ones first, then the odd ones."""
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    return {
        f"{name}.qweight": _int32(_words(layer.codes.unflatten(1, (-1, 8))[..., order], 4)),
        f"{name}.qzeros": _int32(_words(layer.zeros.unflatten(1, (-1, 8))[..., order], 4)),
        f"{name}.scales": layer.scales,
    }


def rewrite(dense: Path, folder: Path, told: dict[str, Any], layer: Callable[[str, Tensor], dict[str, Tensor]]) -> Path:
    """A copy of a dense checkpoint whose decoder's linear layers are what ``layer`` makes of name and weight."""
    shutil.copytree(dense, folder)
    (source,) = folder.glob("*.safetensors")
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_file(source).items():
        if ".layers." in name and tensor.ndim == 2:
            tensors |= layer(name.removesuffix(".weight"), tensor)
        else:
            tensors[name] = tensor
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, source)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | ({"quantization_config": told} if told else {})))
    return folder


def _words(codes: Tensor, bits: int) -> Tensor:
    """[..., 32 / bits] -> [...]: unsigned words as int64, the first code in the lowest bits."""
    shifts = torch.arange(0, 32, bits)
    return (codes.long() << shifts).sum(-1)


def _int32(words: Tensor) -> Tensor:
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)
