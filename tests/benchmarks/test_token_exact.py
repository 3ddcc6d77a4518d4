"""`python -m benchmarks token_exact --quick`: recorded beside others, run again alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.token_exact import FORMATS, UNPROMISED


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_every_recorded_turn_is_run_again(repository: Path, tmp_path: Path) -> None:
    """In each number format the same engine gives the same tokens; where it could not promise them, that was told."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "token_exact", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["token_exact"]
    assert [each["format"] for each in report["formats"]] == list(FORMATS)
    for each in report["formats"]:
        assert (each["tries"], each["same"], each["misses"]) == (report["turns"], report["turns"], [])
        assert each["rows_in_a_step"] > 1
        assert [way["engine"] for way in each["unpromised"]] == list(UNPROMISED)
        for way in each["unpromised"]:
            assert way["told"]
            assert way["same"] + way["differs"] == way["tries"]
