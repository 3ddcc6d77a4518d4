"""The test that is written from a turn runs, and fails when what it guards changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dialogue.faults import InvalidRequest
from replay.to_test import write_test
from tests.replay.made import chain


async def test_a_written_test_runs_and_guards(tmp_path: Path, repository: Path) -> None:
    """It passes as recorded, and not with another history; the scripted draft is one that a real policy sends back."""
    test, fixture = write_test(await chain("normal"), 1, tmp_path, expect="regenerate")

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", str(test), "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    passed = run()
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "2 passed" in passed.stdout
    fixture.write_text(fixture.read_text().replace("recognise_intent", "review_answer"))
    failed = run()
    assert failed.returncode == 1
    assert "1 failed" in failed.stdout


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
