"""`python -m benchmarks cancel_ways --quick`: each way to cancel a real generation frees its row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cancel_ways import WAYS


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_each_way_frees_the_row(repository: Path, tmp_path: Path) -> None:
    """With one answer under way and with two, and the wait for a reader who may come back is none."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "cancel_ways", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["cancel_ways"]
    assert report["come_back_seconds"] == 0
    cases = [(row["way"], row["in_flight"], row["cancels"]) for row in report["rows"]]
    assert cases == [(way, number, 2) for number in (1, 2) for way in WAYS]
    for row in report["rows"]:
        assert 1 < row["p50_ms"] <= row["p95_ms"] <= row["greatest_ms"]
