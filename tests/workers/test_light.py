"""What a process imports before it is ready: only what it serves. Imports are most of a start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.site import write_settings

COMPUTING = {"torch", "transformers", "sentence_transformers", "faiss", "sklearn", "scipy", "bm25s", "numpy"}
DATABASE = {"sqlalchemy", "alembic"}
WORDS = {"opencc", "ahocorasick_rs"}
SERVING = {"starlette", "granian"}


_MIGRATE = """
import asyncio
from records.database import migrate
from settings.layout import Layout
from settings.load import load
settings = load()
asyncio.run(migrate(Layout.of(settings).database_url(settings.records.database)))
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A site whose model is prepared and whose knowledge base is empty; without the embedding's steps in ``light``."""
    pools = {
        "light": {"serves": ["workflows", "receive_input", "review_answer", "return_answer"]},
        "knowing": {"serves": ["recognise_intent", "retrieve_knowledge"]},
        "gpu": {"serves": ["generate_answer"]},
    }
    config = write_settings(tmp_path_factory.mktemp("light"), {"pools": pools, "knowledge": {"sources": []}})
    command = [sys.executable, "-m", "cli.main", "prepare", "--json"]
    environ = {**os.environ, "PARLEY_CONFIG": str(config)}
    subprocess.run(command, cwd=repository, env=environ, check=True, capture_output=True)
    # the first start of all brings the database up to date, which takes a library that later ones leave alone
    subprocess.run([sys.executable, "-c", _MIGRATE], cwd=repository, env=environ, check=True, capture_output=True)
    return config


def imported(code: str, config: Path, repository: Path) -> set[str]:
    """The packages that a fresh interpreter holds after ``code``."""
    told = "\nimport json, sys; print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    ended = subprocess.run(
        [sys.executable, "-c", code + told],
        cwd=repository,
        env={**os.environ, "PARLEY_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stdout.splitlines()[-1]))


def test_the_gateway_computes_nothing(config: Path, repository: Path) -> None:
    """No model, no index, no classifier, no database."""
    code = """
import cli.main, cli.gateway_command, gateway.serve
from gateway.app import create_app
from settings.load import load
from types import SimpleNamespace
create_app(SimpleNamespace(client=None), load(), None)
"""
    there = imported(code, config, repository)
    assert there >= {"gateway", "starlette", "granian", "temporalio"}
    assert (
        there & (COMPUTING | DATABASE | WORDS | {"tokenizers", "knowledge_base", "intents", "model_runtime"}) == set()
    )


def test_up_itself_is_light_where_all_is_prepared(config: Path, repository: Path) -> None:
    """It looks at what is there without the libraries that made it, and needs Temporal's only later."""
    code = """
import cli.main, cli.up_command, cli.stack
from settings.load import load
assert cli.stack.prepared(load()) is not None
"""
    there = imported(code, config, repository)
    assert there >= {"cli", "knowledge_base", "model_runtime"}
    assert there & (COMPUTING | DATABASE | WORDS | SERVING | {"tokenizers", "temporalio"}) == set()


def test_an_engine_is_started_before_anything_heavy(config: Path, repository: Path) -> None:
    """What stands between the start of a GPU worker and that of its engine."""
    code = """
import cli.main, cli.worker_command, workers.run, workers.engines
from settings.load import load
load()
"""
    there = imported(code, config, repository)
    assert there & (COMPUTING | DATABASE | WORDS | SERVING | {"tokenizers", "temporalio"}) == set()


ACTIVITIES = """
import asyncio
from contextlib import AsyncExitStack
import workers.run, workers.serving
from settings.load import load
from workers.parts import Parts
from workers.steps import activities_for
from workers.timeline import Timeline
async def main(settings, pool):
    async with AsyncExitStack() as stack:
        parts = await Parts.open(settings, stack)
        found = await activities_for(settings.pools[pool].serves, parts, None, Timeline(), identity="test")
        assert found
asyncio.run(main(load(), "POOL"))
"""


def test_a_pool_without_embedding_computes_nothing(config: Path, repository: Path) -> None:
    """Workflows, input, review and return: tokenizers without transformers, and no Alembic from the second start on."""
    code = ACTIVITIES.replace("POOL", "light")
    there = imported(code, config, repository)
    assert there & (COMPUTING | SERVING | {"alembic"}) == set()
    assert there >= {"tokenizers", "sqlalchemy", "ahocorasick_rs"}


@pytest.mark.full
def test_a_pool_that_knows_imports_no_policy(config: Path, repository: Path) -> None:
    """Intents and knowledge alone: their libraries, and neither tokenizers' words nor the gateway's."""
    there = imported(ACTIVITIES.replace("POOL", "knowing"), config, repository)
    assert there >= {"torch", "sentence_transformers", "sklearn"}
    assert there & ({"ahocorasick_rs", "alembic"} | SERVING) == set()


def test_a_gpu_worker_leaves_the_model_to_its_engine(config: Path, repository: Path) -> None:
    """The worker itself holds no torch."""
    code = """
import cli.main, cli.worker_command, workers.run, workers.engines, workers.serving
import activities.generate_answer
from model_runtime.tokenizer import Tokenizer
from settings.layout import Layout
from settings.load import load
settings = load()
Tokenizer.load(Layout.of(settings).model(settings.model))
"""
    there = imported(code, config, repository)
    assert there >= {"temporalio", "tokenizers", "sqlalchemy"}
    assert there & (COMPUTING | WORDS | SERVING | {"alembic", "intents", "knowledge_base"}) == set()
