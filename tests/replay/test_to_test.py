"""The test that is written from a turn runs, and fails when what it guards changes."""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from dialogue.faults import InvalidRequest
from replay.to_test import write_test
from tests.replay.made import chain


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
