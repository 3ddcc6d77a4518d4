"""`python -m benchmarks cancel --quick`: real cancels of real generations, and figures that hold together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from activities.heartbeats import INTERVAL
from benchmarks.cancel import Case, _row


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_cancelled_generation_gives_its_row_back(repository: Path, tmp_path: Path) -> None:
    """Every cancel came to a free row, later than at once, and an answer under way sends its heartbeats."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "cancel", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "every 200 ms" in ended.stdout
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["cancel"]
    assert report["chosen_seconds"] == INTERVAL
    assert [(row["interval_ms"], row["in_flight"], row["cancels"]) for row in report["rows"]] == [
        (1000 * INTERVAL, 1, 2),
        (1000 * INTERVAL, 2, 2),
    ]
    for row in report["rows"]:
        assert 1 < row["p50_ms"] <= row["p95_ms"] <= row["greatest_ms"]
        if row["heartbeats_per_second"]:
            assert 0 < row["heartbeats_per_second"]["median"] < 2 / INTERVAL


def test_a_row_without_a_clean_window_has_no_load() -> None:
    """Where an answer ended by itself while the server was watched, the load is not of so many answers."""
    row = _row(Case(0.2, 8, milliseconds=[100.0, 300.0, 200.0], missed=1))
    assert (row["interval_ms"], row["cancels"], row["missed"]) == (200, 3, 1)
    assert (row["p50_ms"], row["p95_ms"], row["greatest_ms"]) == (200.0, 290.0, 300.0)
    assert row["heartbeats_per_second"] is None
    assert row["server_cpu_ms_per_second"] is None
