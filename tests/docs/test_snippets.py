"""The other blocks are right too: YAML is what the settings take, JSON parses, Python compiles, SQL runs."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from intents.intents_file import load as load_intents
from records.database import connect_database, migrate, reading
from settings.load import load
from settings.schema import Settings
from tests.docs.pages import PAGES, ROOT, Block, blocks, counterpart


def _blocks(language: str) -> Any:
    found = [block for page in PAGES for block in blocks(page) if block.language == language]
    return pytest.mark.parametrize("block", found, ids=lambda block: f"{block.page.relative_to(ROOT)}:{block.line}")


@_blocks("yaml")
def test_yaml_is_a_configuration_or_an_intents_file(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read by the code that reads it in use: an unknown key or a wrong value fails."""
    if block.not_run:
        return
    for name in [name for name in os.environ if name.startswith("PARLEY_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "block.yaml"
    file.write_text(block.text, "utf-8")
    keys = set(yaml.safe_load(block.text))
    if keys <= set(Settings.model_fields):
        load(file)
    else:
        assert load_intents(file).intents


@_blocks("json")
def test_json_parses(block: Block) -> None:
    """As it stands."""
    json.loads(block.text)


@_blocks("python")
def test_python_compiles(block: Block) -> None:
    """Programs are also run, against a site (tests/docs/test_commands.py)."""
    ast.parse(block.text)


SQL = [block for page in PAGES if counterpart(page) is None for block in blocks(page) if block.language == "sql"]


@pytest.mark.parametrize("block", SQL, ids=lambda block: f"{block.page.relative_to(ROOT)}:{block.line}")
async def test_sql_runs(block: Block, tmp_path: Path) -> None:
    """Against tables as the migrations make them."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    try:
        async with reading(engine) as connection:
            for statement in filter(str.strip, block.text.split(";")):
                await connection.execute(text(statement), {"conversation": "conv-1", "turn": 1, "tenant": "default"})
    finally:
        await engine.dispose()
