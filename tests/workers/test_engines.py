"""The engines of a pool are those its settings name."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dialogue.faults import EngineLost
from model_runtime.prepare import prepare_model
from model_runtime.protocol import GenerationRequest, Sampling
from settings.load import load
from tests.support.completions_server import completions_server
from tests.support.ports import free_port
from tests.support.tiny_model import tiny_model
from workers.engines import Engines
from workers.timeline import Timeline

SETTINGS = """
model:
  source: source
  name: tiny
  engine: openai
  base_url: {url}
  api_key_file: key
  rows: 2
  widths: [128]
generation: {{max_new_tokens: 32}}
"""


async def test_a_server_is_an_engine_of_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`engine: openai` with its address and key is all it takes: prepared without weights, started, asked; one that is
    not there is told by its setting."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("sk-tests")
    source = tiny_model(tmp_path / "source")
    prepare_model(str(source), name="tiny", method="bf16", folder=tmp_path / "server")
    prepare_model(str(source), name="tiny", method="none", folder=tmp_path / "var" / "models")
    with completions_server(tmp_path / "server" / "tiny-bf16", key="sk-tests") as server:
        async with AsyncExitStack() as stack:
            engines = _engines(tmp_path, server.url, stack)
            engine = await (await engines.ready("tiny")).ready()
            assert (await engine.describe()).device == server.url
            request = GenerationRequest("a", (40, 41), sampling=Sampling(max_new_tokens=5))
            assert sum([len(event.token_ids) async for event in engine.submit(request)]) == 5
    async with AsyncExitStack() as stack:
        with pytest.raises(EngineLost, match=r"set model\.base_url"):
            await _engines(tmp_path, f"http://127.0.0.1:{free_port()}", stack).ready("tiny")


def _engines(folder: Path, url: str, stack: AsyncExitStack) -> Engines:
    (folder / "temporal.yaml").write_text(SETTINGS.format(url=url))
    return Engines(load(folder / "temporal.yaml"), stack, Timeline())
