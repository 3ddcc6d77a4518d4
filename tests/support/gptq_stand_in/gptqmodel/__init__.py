"""Stands in for gptqmodel behind the same calls: rounds to the nearest instead of GPTQ, and writes the same format.

It reads the checkpoint through transformers, as gptqmodel does.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.support.packed_checkpoints import Known, gptq_tensors

__version__ = "0.0.stand-in"
print("a banner on standard output, as gptqmodel prints one")  # noqa: T201 - what is printed must not reach the driver


@dataclass
class QuantizeConfig:
    bits: int
    group_size: int
    sym: bool
    desc_act: bool


class GPTQModel:
    def __init__(self, source: Path, config: QuantizeConfig) -> None:
        self.source, self.config = source, config
        self.model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)

    @classmethod
    def load(cls, source: str, config: QuantizeConfig) -> GPTQModel:
        return cls(Path(source), config)

    def quantize(self, calibration: list[dict[str, list[int]]], batch_size: int) -> None:
        assert all(len(sample["input_ids"]) == len(sample["attention_mask"]) for sample in calibration)

    def save(self, target: str) -> None:
        folder, config = Path(target), self.config
        folder.mkdir()
        tensors: dict[str, Tensor] = {}
        for name, weight in self.model.state_dict().items():
            if ".layers." in name and weight.ndim == 2:
                layer = round_to_nearest(weight, config.group_size)
                tensors |= gptq_tensors(name.removesuffix(".weight"), layer, bits=config.bits)
            else:
                tensors[name] = weight.half()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
        told = asdict(config) | {"quant_method": "gptq", "checkpoint_format": "gptq"}
        raw = json.loads((self.source / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(raw | {"quantization_config": told}))
        shutil.copyfile(self.source / "tokenizer.json", folder / "tokenizer.json")


def round_to_nearest(weight: Tensor, group: int) -> Known:
    """Symmetric, a scale for each group along the inputs."""
    outputs, inputs = weight.shape
    groups = weight.view(outputs, -1, group)
    scales = (groups.abs().amax(-1) / 7.5).half().clamp_min(1e-6)
    codes = (groups / scales.float()[..., None]).round().add(8).clamp(0, 15).view(outputs, inputs)
    zeros = torch.full((inputs // group, outputs), 8)
    return Known(codes.T.long(), zeros, scales.T.contiguous(), torch.arange(inputs) // group)
