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
    format: str


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
                layer = round_to_nearest(weight, config.group_size, sym=config.sym)
                v2 = config.format == "gptq_v2"
                tensors |= gptq_tensors(name.removesuffix(".weight"), layer, bits=config.bits, v2=v2)
            else:
                tensors[name] = weight.half()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
        told = asdict(config) | {"quant_method": "gptq", "checkpoint_format": config.format}
        raw = json.loads((self.source / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(raw | {"quantization_config": told}))
        shutil.copyfile(self.source / "tokenizer.json", folder / "tokenizer.json")


def round_to_nearest(weight: Tensor, group: int, *, sym: bool) -> Known:
    """To codes of four bits, with a scale and, unless ``sym``, a zero point for each group along the inputs."""
    outputs, inputs = weight.shape
    groups = weight.view(outputs, -1, group)
    low, high = groups.amin(-1).clamp_max(0), groups.amax(-1).clamp_min(0)
    span = 2 * groups.abs().amax(-1) if sym else high - low
    scales = (span / 15).half().clamp_min(1e-6)
    zeros = torch.full_like(low, 8) if sym else (-low / scales.float()).round().clamp(0, 15)
    codes = ((groups / scales.float()[..., None]).round() + zeros[..., None]).clamp(0, 15).view(outputs, inputs)
    order = torch.arange(inputs) // group
    return Known(codes.T.long(), zeros.T.long().contiguous(), scales.T.contiguous(), order)
