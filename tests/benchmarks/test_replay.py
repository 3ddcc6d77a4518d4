"""`python -m benchmarks replay --quick`: a recorded chain replayed three ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.full
def test_each_way_replays_the_same_events(tmp_path: Path, repository: Path) -> None:
    """And each is told as a multiple of the SDK's bare Replayer, and of that with the plugin."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "replay", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(file.read_text("utf-8"))["results"]["replay"]
    assert told["events"] > 30 * told["turns"]
    assert set(told["ways"]) == {"bare", "plugin", "verify"}
    assert told["ways"]["bare"]["to_bare"]["median"] == told["ways"]["plugin"]["to_plugin"]["median"] == 1
    assert all(way["events_per_second"]["median"] > 0 for way in told["ways"].values())
