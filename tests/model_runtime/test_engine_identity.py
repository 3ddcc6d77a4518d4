"""The engine digest: whatever may change a token makes another one, and what it is can be told before a rerun."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from model_runtime.engine_client import ProcessEngine
from model_runtime.engine_identity import engine_differences, with_digest
from model_runtime.model_store import verify
from model_runtime.prepare import prepare_model
from model_runtime.protocol import EngineDescription
from model_runtime.slot_engine import SlotEngine
from model_runtime.vllm_engine import VllmEngine
from tests.support.tiny_model import tiny_model

USUAL: dict[str, Any] = {"rows": 2, "widths": (64, 128), "threads": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Prepared models: the usual one, the same weights held otherwise, and other weights under the same name."""
    folder = tmp_path_factory.mktemp("models")
    usual, other = tiny_model(folder / "checkpoint"), tiny_model(folder / "retrained", seed=2)
    prepare_model(str(usual), name="tiny", method="bf16", folder=folder)
    prepare_model(str(usual), name="tiny", method="int8", folder=folder)
    prepare_model(str(other), name="tiny", method="bf16", folder=folder / "other")
    return {"usual": folder / "tiny-bf16", "int8": folder / "tiny-int8", "retrained": folder / "other" / "tiny-bf16"}


async def described(engine: SlotEngine | ProcessEngine) -> EngineDescription:
    await engine.start()
    try:
        return await engine.describe()
    finally:
        await engine.close()


@pytest.fixture(scope="module")
async def usual(folders: dict[str, Path]) -> EngineDescription:
    return await described(SlotEngine(folders["usual"], **USUAL))


def recorded(description: EngineDescription) -> dict[str, Any]:
    """As a try's record holds it."""
    return json.loads(json.dumps(dataclasses.asdict(description)))


@pytest.mark.parametrize(
    ("folder", "changed", "told"),
    [
        ("retrained", {}, {"model_digest"}),
        ("int8", {}, {"model_digest", "quantization"}),
        ("usual", {"rows": 3}, {"rows"}),
        ("usual", {"widths": (64,)}, {"widths"}),
        ("usual", {"threads": 2}, {"threads"}),
    ],
    ids=["weights", "quantization", "rows", "widths", "threads"],
)
async def test_a_change_of_the_engine_is_told_by_its_name(
    folders: dict[str, Path], usual: EngineDescription, folder: str, changed: dict[str, Any], told: set[str]
) -> None:
    """The digest is another one, and the line says what was recorded and what there is now."""
    now = await described(SlotEngine(folders[folder], **{**USUAL, **changed}))
    assert now.engine_digest != usual.engine_digest
    lines = engine_differences(recorded(usual), now)
    assert {line.partition(":")[0] for line in lines} == told
    assert all(" when recorded, " in line and line.endswith(" now") for line in lines)


async def test_other_kernels_are_told(
    folders: dict[str, Path], usual: EngineDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that may not use what the processor has computes by other kernels, and says so."""
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    now = await described(ProcessEngine(folders["usual"], **USUAL, log_file=tmp_path / "log"))
    lines = engine_differences(recorded(usual), now)
    assert any(line.startswith("kernels: torch ") and " DEFAULT " in line for line in lines)
    assert "options.ONEDNN_MAX_CPU_ISA: not told when recorded, SSE41 now" in lines


async def test_the_same_engine_has_the_same_digest(
    folders: dict[str, Path], usual: EngineDescription, tmp_path: Path
) -> None:
    """Started again, and in a process of its own: nothing differs, so an exact rerun may be expected."""
    for engine in (
        SlotEngine(folders["usual"], **USUAL),
        ProcessEngine(folders["usual"], **USUAL, log_file=tmp_path / "log"),
    ):
        now = await described(engine)
        assert (now, engine_differences(recorded(usual), now)) == (usual, ())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"enforce_eager": True}, {"mode", "options.enforce_eager"}),
        ({"enable_prefix_caching": True}, {"options.enable_prefix_caching"}),
        ({"tensor_parallel_size": 2}, {"options.tensor_parallel_size"}),
        ({"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}}, {"options.speculative_config"}),
        ({"dtype": "float32"}, {"dtype", "options.dtype"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_vllm_is_started_with_is_told(folders: dict[str, Path], changed: dict[str, Any], told: set[str]) -> None:
    """Eager or compiled, and each argument by vLLM's own name."""

    def described_with(arguments: dict[str, Any]) -> EngineDescription:
        engine = VllmEngine(folders["usual"], rows=2, widths=(128,), arguments=arguments)
        engine._manifest, engine._eos, engine._vocabulary = verify(folders["usual"]), (2,), 128
        return engine._described("0.0", 128)

    before, now = described_with({}), described_with(changed)
    assert before.engine_digest != now.engine_digest
    assert {line.partition(":")[0] for line in engine_differences(recorded(before), now)} == told


def test_every_fact_that_decides_is_in_the_digest(usual: EngineDescription) -> None:
    """Each alone makes another digest; what decides no token makes none."""
    changes: dict[str, Any] = {
        "engine": "vllm", "model_digest": "f" * 64, "quantization": "int4", "dtype": "float32", "kernels": "others",
        "mode": "compiled", "rows": 9, "widths": (1,), "device": "cuda", "threads": 9, "options": {"arithmetic": 9},
    }  # fmt: skip
    for name, value in changes.items():
        now = with_digest(dataclasses.replace(usual, **{name: value}))
        assert now.engine_digest != usual.engine_digest, name
        assert all(
            line.partition(":")[0].partition(".")[0] == name for line in engine_differences(recorded(usual), now)
        )
    renamed = with_digest(dataclasses.replace(usual, model="other", languages=("zh",), weight_bytes=1))
    assert renamed.engine_digest == usual.engine_digest
    assert set(changes) | {"model", "engine_digest", "context", "languages", "reasoning", "eos_token_ids", "vocabulary",
                           "weight_bytes", "token_ids"} == set(recorded(usual))  # fmt: skip


def test_a_record_of_another_version_is_told(usual: EngineDescription) -> None:
    """What an older record does not hold is named; where it holds the same facts, its digest was made otherwise."""
    older = {name: value for name, value in recorded(usual).items() if name != "kernels"} | {"engine_digest": "old"}
    assert engine_differences(older, usual) == (f"kernels: not told when recorded, {usual.kernels} now",)
    (line,) = engine_differences(recorded(usual) | {"engine_digest": "old"}, usual)
    assert line.startswith("engine_digest: ")
