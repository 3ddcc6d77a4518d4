"""`python -m benchmarks rpc_bytes --quick`: every transport brings every token, and figures that hold together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def test_a_turn_is_read_over_every_transport(repository: Path, tmp_path: Path) -> None:
    """A process of its own, because it changes what is logged."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "rpc_bytes", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["rpc_bytes"]
    rows = {row["transport"]: row for row in report["rows"]}
    assert list(rows) == ["server-sent events", "gRPC-Web", "Connect, protobuf", "Connect, JSON"]
    assert 0 < rows["gRPC-Web"]["bytes"] < rows["server-sent events"]["bytes"]
    for row in rows.values():
        assert 0 < row["p50_ms"] <= row["p95_ms"]
