"""`python -m benchmarks load --quick`: an open load on a naive server and on ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import compared, figures
from benchmarks.peers_timing import Answered
from benchmarks.peers_work import Work


@pytest.mark.full
def test_both_get_the_same_load(repository: Path, tmp_path: Path) -> None:
    """One and a half times what the naive one can serve; every query is answered by both, in the end."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "load", "--quick", "--json", str(file)]
    environment = {**os.environ, "GOMP_SPINCOUNT": "0"}  # the cores are not its own, beside other tests
    ended = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "open load" in ended.stdout
    load = json.loads(file.read_text("utf-8"))["results"]["load"]
    naive, ours = load["rows"]
    assert [(row["load"], row["server"]) for row in load["rows"]] == [(1.5, "naive"), (1.5, "ours")]
    assert naive["came"] == ours["came"] > 0
    assert load["capacity"] > 0
    for row in load["rows"]:
        assert row["made_of_asked"] == 1.0
        assert min(row["latency_seconds"].values()) > 0


def test_those_answered_too_late_count_in_latency_alone() -> None:
    """Of three that came within ten seconds, one was answered after them."""
    work = Work((1,), 2)
    answered = [
        Answered(work, 100.0 + asked, made=2, ended=100.0 + ended) for asked, ended in ((0, 1), (1, 4), (9, 14))
    ]
    told = figures(answered, 100.0, 10)
    assert (told["came"], told["answered_in_time"], told["queries_per_second"]) == (3, 2, 0.2)
    assert told["latency_seconds"] == {"mean": 3.0, "p95": 4.8}


def test_ours_is_held_against_naive_at_each_load() -> None:
    """Queries more, latency less; a naive one that answered nothing in time gives no ratio of queries."""
    rows = [
        {"load": load, "server": server, "queries_per_second": queries, "latency_seconds": {"mean": mean}}
        for load, server, queries, mean in (
            (1.5, "naive", 1.0, 4.0), (2.0, "naive", 0.0, 9.0), (1.5, "ours", 1.4, 1.0), (2.0, "ours", 1.8, 3.0)
        )
    ]  # fmt: skip
    assert compared(rows) == [
        {"load": 1.5, "queries": 1.4, "mean_latency": 0.25},
        {"load": 2.0, "queries": None, "mean_latency": 0.33},
    ]
