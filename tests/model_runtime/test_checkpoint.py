"""Checkpoints that others quantized are prepared and run; what cannot be is refused with the way out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dialogue.faults import ModelFault
from model_runtime.architecture import Architecture
from model_runtime.decoder import Decoder
from model_runtime.fp8 import dequantize_blocks
from model_runtime.loading import load
from model_runtime.model_store import verify
from model_runtime.prepare import prepare_model
from tests.model_runtime.conftest import TINY
from tests.support.packed_checkpoints import awq_tensors, gptq_tensors, known_layer, rewrite

_IDS = list(range(3, 40))


def _logits(folder: Path) -> Tensor:
    decoder = load(folder, torch.device("cpu")).decoder
    return decoder.prefill(_IDS, 0, decoder.place(64)).float()


def _dense_logits(dense: Path, weights: dict[str, Tensor]) -> Tensor:
    """Those of a dense decoder in bf16 with these in place of the checkpoint's own layers."""
    (file,) = dense.glob("*.safetensors")
    held = load_file(file) | {f"{name}.weight": weight for name, weight in weights.items()}
    decoder = Decoder(Architecture.from_config(TINY), {n: t.bfloat16() for n, t in held.items()}, torch.bfloat16)
    return decoder.prefill(_IDS, 0, decoder.place(64)).float()


@pytest.mark.parametrize("kind", ["gptq", "gptq act-order", "awq"])
def test_a_quantized_checkpoint_is_run_as_it_is(kind: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The logits are those of its dequantized weights; the config of the prepared folder says nothing of packing."""
    method: Any = kind.split()[0]
    meant: dict[str, Tensor] = {}

    def layer(name: str, weight: Tensor) -> dict[str, Tensor]:
        known = known_layer(*weight.shape, 32, act_order="act-order" in kind, seed=len(meant))
        meant[name] = known.dense()
        return awq_tensors(name, known) if method == "awq" else gptq_tensors(name, known)

    told = {"quant_method": method, "bits": 4, "group_size": 32, "desc_act": "act-order" in kind}
    source = rewrite(tiny_checkpoint, tmp_path / "packed", told, layer)
    made = prepare_model(str(source), name="tiny", method=method, folder=tmp_path / "m")
    folder = tmp_path / "m" / f"tiny-{method}"
    assert verify(folder) == made
    assert made.method == method
    assert made.bytes_after < made.bytes_before
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    expected = _dense_logits(tiny_checkpoint, meant)
    assert float((_logits(folder) - expected).norm() / expected.norm()) < 0.02


def test_old_gptq_has_its_config_in_a_file_of_its_own(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """As AutoGPTQ wrote it before transformers knew the method."""
    source = rewrite(
        tiny_checkpoint, tmp_path / "old", {}, lambda name, w: gptq_tensors(name, known_layer(*w.shape, 32))
    )
    (source / "quantize_config.json").write_text('{"bits": 4, "group_size": 32, "desc_act": false}')
    with pytest.raises(ModelFault, match="take the method gptq"):
        prepare_model(str(source), name="tiny", method="int4", folder=tmp_path / "m")
    assert prepare_model(str(source), name="tiny", method="gptq", folder=tmp_path / "m").method == "gptq"


@pytest.mark.parametrize("method", ["bf16", "int8"])
def test_fp8_in_blocks_is_dequantized_and_quantized_our_way(method: Any, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """In the format of DeepSeek and Qwen, with blocks that do not fill the weight."""
    block = (48, 40)
    meant: dict[str, Tensor] = {}

    def layer(name: str, weight: Tensor) -> dict[str, Tensor]:
        counts = [-(-size // each) for size, each in zip(weight.shape, block, strict=True)]
        scale = torch.rand(counts, generator=torch.Generator().manual_seed(len(meant))) * 0.1 + 0.01
        spread = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[
            : weight.shape[0], : weight.shape[1]
        ]
        packed = (weight / spread).to(torch.float8_e4m3fn)
        meant[name] = packed.float() * spread
        return {f"{name}.weight": packed, f"{name}.weight_scale_inv": scale}

    told = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(block)}
    source = rewrite(tiny_checkpoint, tmp_path / "fp8", told, layer)
    prepare_model(str(source), name="tiny", method=method, folder=tmp_path / "m")
    expected = _dense_logits(tiny_checkpoint, meant)
    error = (_logits(tmp_path / "m" / f"tiny-{method}") - expected).norm() / expected.norm()
    assert float(error) < (1e-6 if method == "bf16" else 0.05)


def test_fp8_without_its_scales_is_refused() -> None:
    """One scale a tensor is another format."""
    weight = torch.zeros(256, 130).to(torch.float8_e4m3fn)
    assert dequantize_blocks("w", weight, torch.ones(2, 2)).shape == weight.shape
    for scale in (None, torch.ones(1), torch.ones(2, 1)):
        with pytest.raises(
            ModelFault, match=r"weight_scale_inv for its blocks of 128 x 128: give the checkpoint in bf16"
        ):
            dequantize_blocks("w", weight, scale)


@pytest.mark.parametrize(
    ("held", "method", "words"),
    [
        (None, "gptq", r"is not quantized: .*`parley model build --method gptq"),
        (None, "awq", r"is not quantized: the method awq takes a checkpoint that AWQ made$"),
        ("awq", "gptq", "is quantized by 'awq'"),
        ("gptq", "int8", "by gptq: take the method gptq, or give the checkpoint it was made from"),
        ("bitsandbytes", "int4", "by 'bitsandbytes', which is not read here"),
    ],
)
def test_a_method_and_a_source_that_do_not_meet(
    held: str | None, method: Any, words: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Refused before anything is built, with both ways out."""
    if held:
        config = TINY | {"quantization_config": {"quant_method": held}}
        (tiny_checkpoint / "config.json").write_text(json.dumps(config))
    build = partial(prepare_model, str(tiny_checkpoint), name="tiny", method=method, folder=tmp_path / "m")
    with pytest.raises(ModelFault, match=words):
        build()
    assert not [path for path in (tmp_path / "m").iterdir() if path.is_dir()]
