"""`python -m benchmarks streams --quick`: every transport brings every token, and figures that hold together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.full
def test_what_the_gateway_adds_is_measured(repository: Path, tmp_path: Path) -> None:
    """A process of its own, because it changes how many files it may open."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "streams", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert "Task was destroyed" not in ended.stderr
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["streams"]
    transports = {"server-sent events", "WebSocket", "gRPC-Web", "OpenAI"}
    assert {(row["transport"], row["streams"]) for row in report["late"]} == {
        (t, n) for t in transports for n in (1, 3)
    }
    for row in report["late"]:
        assert (row["tokens"], row["lost"]) == (5 * row["streams"], 0)
        assert 0 < row["p50_ms"]["median"] <= row["p95_ms"]["median"]
    for row in report["held"]:
        assert (row["tokens"], row["lost"], row["ends_lost"]) == (10, 0, 0)
    assert {row["language"]: row["characters"] for row in report["gated"]} == {"en": 80, "zh": 30}
    for row in report["first_token"]:
        assert all(milliseconds >= 0 for milliseconds in row["parts_p50_ms"].values())
    assert all(row["to_bare"]["median"] > 0 for row in report["throughput"])
