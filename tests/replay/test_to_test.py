"""The test that is written from a turn runs, and fails when what it guards changes."""

from __future__ import annotations

import ast
import asyncio
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialogue.faults import InvalidRequest
from records.payloads import data_converter
from replay.chain import Chain
from replay.histories import from_files
from replay.to_test import write_test
from tests.replay.made import chain, spoiled


def _tests_in(path: Path) -> list[Callable[[], None]]:
    return [value for name, value in runpy.run_path(str(path)).items() if name.startswith("test_")]


def test_a_written_test_runs_and_guards(tmp_path: Path) -> None:
    """It passes as recorded, and not with another history; the scripted draft is one that a real policy sends back."""
    test, fixture = write_test(asyncio.run(chain("normal")), 1, tmp_path, expect="regenerate")
    replays, judged = _tests_in(test)
    replays()
    judged()
    fixture.write_text(fixture.read_text().replace("recognise_intent", "review_answer"))
    with pytest.raises(AssertionError, match="review_answer"):
        replays()


async def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """And a turn that was never reviewed expects no verdict."""
    found = await chain("normal")
    write_test(found, 1, tmp_path)
    with pytest.raises(InvalidRequest, match="is there already"):
        write_test(found, 1, tmp_path)
    refused = await chain("refused")
    with pytest.raises(InvalidRequest, match="was never reviewed"):
        write_test(refused, 1, tmp_path, expect="block")
    test, fixture = write_test(refused, 1, tmp_path)
    assert "load()" not in test.read_text()
    assert json.loads(fixture.read_text())["turn"] == 1


def _named(folder: Path, workflow_id: str) -> Chain:
    """The recorded conversation as it would be under that id, which whoever starts a workflow chooses."""

    def rename(events: list[Any]) -> None:
        events[0]["workflowExecutionStartedEventAttributes"]["workflowId"] = workflow_id

    (found,) = asyncio.run(from_files([spoiled(folder, "normal", rename)], data_converter))
    return found


IDS = {
    "program": 'x"""\n1/0\n"""',
    "name": "a\\Nb",
    "escape": "a\\u",
    "nul": "\0",
    "path": "../../up",
    "chinese": "问答",
    "long": "long" * 225,
}


@pytest.mark.parametrize("workflow_id", IDS.values(), ids=IDS)
def test_no_word_of_an_id_stands_in_the_program(tmp_path: Path, workflow_id: str) -> None:
    """Imports, where the fixture is, and tests: nothing else is run, and the fixture has the id as it was."""
    found = _named(tmp_path, workflow_id)
    assert found.workflow_id == workflow_id
    test, fixture = write_test(found, 1, tmp_path / "out")
    first, *rest = ast.parse(test.read_text()).body
    assert isinstance(first, ast.Expr)
    assert isinstance(first.value, ast.Constant)
    kinds = [type(each) for each in rest if not isinstance(each, ast.Import | ast.ImportFrom)]
    assert kinds == [ast.Assign, ast.FunctionDef, ast.FunctionDef]
    assert (test.parent, len(test.name) < 100) == (tmp_path / "out", True)
    assert json.loads(fixture.read_text())["workflow_id"] == workflow_id
    next(each for each in _tests_in(test) if each.__name__.endswith("_replays"))()


def test_ids_that_look_alike_have_files_of_their_own(tmp_path: Path) -> None:
    """A name says less than an id; the usual id is its own name."""
    names = {write_test(_named(tmp_path, each), 1, tmp_path)[0].name for each in ("a-b", "a/b", "a:b", "问", "答")}
    assert len(names) == 5
    assert "test_a_b_turn_1.py" in names
