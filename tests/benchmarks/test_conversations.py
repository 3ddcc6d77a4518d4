"""`python -m benchmarks long open --quick`: conversations that grow old, and many of them, on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("benchmarks") / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "long", "open", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(file.read_text("utf-8"))["results"]


@pytest.mark.full
def test_an_old_conversation_is_held_against_itself_when_young(results: dict[str, Any]) -> None:
    """The last turns over the first ones, of the same conversation."""
    long = results["long"]
    assert long["to_young"]["median"] == pytest.approx(long["old_ms"]["median"] / long["young_ms"]["median"], rel=0.1)
    assert long["chained_runs"] == [1]
    assert long["slowest_ms"]["greatest"] >= long["old_ms"]["greatest"]


@pytest.mark.full
def test_the_cache_tells_which_conversations_it_held(results: dict[str, Any]) -> None:
    """Those it still held are hits alone but for what others pushed out; of the oldest each one is replayed."""
    (case,) = results["open"]["cases"]
    assert (case["open"], case["max_cached_workflows"]) == (20, 10)
    held, evicted = case["resumed_from_cache"], case["resumed_from_history"]
    assert held["hit"] > 0
    assert evicted["miss"] >= 4
    assert evicted["miss"] > held["miss"]
    assert case["worker_mib"]["after"] > 10
