"""`python -m benchmarks invariance prefix --quick`: two properties of the engine, and what they cost or save."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "invariance", "prefix", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(file.read_text("utf-8"))["results"]


@pytest.mark.full
def test_each_fixed_thing_is_held_against_what_would_do(results: dict[str, Any]) -> None:
    """Widths and rows, each with times of both ways and their ratios."""
    cases = results["invariance"]["cases"]
    assert len(cases) == 5
    for case in cases:
        assert 0 < case["ratio"]["least"] <= case["ratio"]["median"] <= case["ratio"]["greatest"]


@pytest.mark.full
def test_later_turns_reuse_what_earlier_ones_took_in(results: dict[str, Any]) -> None:
    """By whole chunks, never more than the prompt of the turn before; the first turn has nothing to reuse."""
    turns = results["prefix"]["turns"]
    assert turns[0]["reused_tokens"] == 0
    for before, turn in pairwise(turns):
        assert turn["reused_tokens"] % 256 == 0
        assert turn["reused_tokens"] <= before["prompt_tokens"] < turn["prompt_tokens"]
