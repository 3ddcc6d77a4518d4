"""vLLM in the engine's process: what is refused before it starts, and that it ends with us. Its answers are held to the
protocol by the suite of all engines (``test_engine_conformance``)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from dialogue.faults import EngineLost, ModelFault
from model_runtime.engine_client import ProcessEngine
from model_runtime.model_store import verify
from model_runtime.prepare import prepare_model, standing
from model_runtime.protocol import GenerationRequest, Sampling
from model_runtime.vllm_arguments import engine_arguments, refuse_unusable
from model_runtime.vllm_engine import VllmEngine
from settings.load import load
from tests.model_runtime.conftest import collect, until
from tests.support.tiny_model import tiny_model
from tests.support.vllm_server import vllm_python

GIVEN = """
model:
  engine: vllm
  quantization: checkpoint
  source: models/tiny
  rows: 64
  widths: [4096]
  vllm:
    tensor_parallel_size: 4
    enable_prefix_caching: false
    dtype: float16
    speculative_config: {method: ngram, num_speculative_tokens: 3, prompt_lookup_max: 4}
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "checkpoint")


@pytest.fixture(scope="module")
def folder(checkpoint: Path) -> Path:
    prepare_model(str(checkpoint), name="tiny", method="checkpoint", folder=checkpoint.parent)
    return checkpoint.parent / "tiny-checkpoint"


def test_a_checkpoint_is_held_as_it_was_published(checkpoint: Path, folder: Path) -> None:
    """Each file by its digest, the weights by a link rather than a second copy, and nothing that could be run."""
    (checkpoint / "modeling_tiny.py").write_text("raise SystemExit")
    (checkpoint / "pytorch_model.bin").write_bytes(b"a pickle")
    manifest = verify(folder)
    assert set(manifest.files) == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors",
    }
    assert (folder / "model.safetensors").samefile(checkpoint / "model.safetensors")
    assert (manifest.method, manifest.bytes_before) == ("checkpoint", (folder / "model.safetensors").stat().st_size)
    assert standing(folder, str(checkpoint)) == manifest


def test_a_gguf_is_no_checkpoint(tmp_path: Path) -> None:
    """The line says what to take instead; nothing is left."""
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFault, match="take bf16"):
        prepare_model(str(tmp_path / "a.gguf"), name="g", method="checkpoint", folder=tmp_path / "models")
    assert not (tmp_path / "models" / "g-checkpoint").exists()


def test_what_a_site_gives_reaches_vllm_as_it_stands(tmp_path: Path) -> None:
    """From temporal.yaml: tensor parallelism, prefix caching, speculative decoding, beside what our settings say."""
    (tmp_path / "temporal.yaml").write_text(GIVEN, "utf-8")
    model = load(tmp_path / "temporal.yaml", {}).model
    given = json.loads(json.dumps(model.vllm))  # as it goes to the engine's process
    folder = tmp_path / "model"
    arguments = engine_arguments(folder, rows=model.rows, longest=model.widths[-1], given=given)
    assert arguments | {"tensor_parallel_size": 4, "enable_prefix_caching": False} == arguments
    assert arguments["speculative_config"] == {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}
    assert (arguments["model"], arguments["max_num_seqs"], arguments["max_model_len"]) == (str(folder), 64, 4096)
    assert (arguments["dtype"], arguments["generation_config"]) == ("float16", "vllm")


def test_without_arguments_vllm_has_its_own_ways(tmp_path: Path) -> None:
    """Nothing is said of parallelism, caching or speculation where the site says nothing."""
    arguments = engine_arguments(tmp_path, rows=8, longest=1024, given={})
    assert not {"tensor_parallel_size", "enable_prefix_caching", "speculative_config"} & set(arguments)
    assert arguments["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("max_num_seqs", "is given by model.rows"),
        ("model", "is given by model.source"),
        ("trust_remote_code", "is given by nothing: code of a checkpoint is never run"),
        ("tensor_paralel_size", "is no argument of this vLLM"),
    ],
)
def test_an_argument_that_cannot_be_given_is_refused(name: str, told: str) -> None:
    """One line names it, and who gives it."""
    with pytest.raises(ModelFault, match=rf"^model\.vllm\.{name} {told}") as caught:
        refuse_unusable({"tensor_parallel_size": 2, name: 1}, {"tensor_parallel_size", "max_num_seqs", "model"})
    assert caught.value.field == f"model.vllm.{name}"


async def test_an_interpreter_without_vllm_is_named(folder: Path, tmp_path: Path) -> None:
    """The fault crosses from the engine's process, with the way out."""
    engine = ProcessEngine(folder, engine="vllm", widths=(128,), log_file=tmp_path / "log")
    with pytest.raises(ModelFault, match=f"{sys.executable} has no vLLM.*model.python"):
        await engine.start()
    assert engine.pid is None


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("max_num_seqs", "is given by model.rows"),
        ("trust_remote_code", "is given by nothing: code of a checkpoint is never run"),
        ("tensor_paralel_size", "is no argument of this vLLM"),
    ],
)
async def test_an_argument_that_cannot_be_given_is_named(folder: Path, tmp_path: Path, name: str, told: str) -> None:
    """Before anything is loaded."""
    python = vllm_python()
    engine = ProcessEngine(
        folder, python=python, engine="vllm", arguments={name: 1}, widths=(128,), log_file=tmp_path / "log"
    )
    with pytest.raises(ModelFault, match=rf"model\.vllm\.{name} {told}"):
        await engine.start()


@pytest.mark.full
async def test_vllm_ends_with_the_process_that_started_it(folder: Path, tmp_path: Path) -> None:
    """kill -9 of the engine's process leaves nothing that would keep a GPU's memory; the loss is told, and a start
    begins anew. So it is where vLLM's own process below dies."""
    python = vllm_python()
    arguments = {"enforce_eager": True}
    engine = ProcessEngine(
        folder, python=python, engine="vllm", arguments=arguments, widths=(128,), threads=1, log_file=tmp_path / "log"
    )
    await engine.start()
    request = GenerationRequest("long", (40, 41), sampling=Sampling(temperature=1.0, max_new_tokens=120, watch=False))
    for whom in ("ours", "its own"):
        assert engine.pid is not None
        below = psutil.Process(engine.pid).children(recursive=True)
        core = next(each for each in below if "spawn_main" in " ".join(each.cmdline()) or "EngineCore" in each.name())
        stream = engine.submit(request)
        await anext(stream)
        os.kill(engine.pid if whom == "ours" else core.pid, signal.SIGKILL)
        with pytest.raises(EngineLost):
            async for _ in stream:
                pass
        await engine.close()
        await until(lambda below=below: _gone(below))
        await engine.start()
        assert len((await collect(engine, request))[0]) > 1
    await engine.close()


async def _gone(processes: list[psutil.Process]) -> bool:
    await asyncio.sleep(0)
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_the_cache_is_asked_for_as_large_as_the_rows_need(folder: Path) -> None:
    """In whole GiB; 2 layers of one head of 32 need 256 bytes a token."""
    assert VllmEngine(folder, rows=8, widths=(1024,))._cache_gib(1024) == 1
    assert VllmEngine(folder, rows=256, widths=(2**17,))._cache_gib(2**17) == 10
