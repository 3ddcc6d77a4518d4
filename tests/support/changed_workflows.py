"""A copy of the product's workflows with a change in it, for processes that run yesterday's or a wrong version."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["changed_workflows", "environment_of", "failures_of"]

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def changed_workflows(folder: Path, changes: Mapping[str, tuple[str, str]]) -> Path:
    """``workflows/`` below ``folder``, with one text replaced by another in each named file."""
    copy = folder / "workflows"
    shutil.copytree(REPOSITORY / "workflows", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in changes.items():
        source = (copy / name).read_text("utf-8")
        assert source.count(before) == 1, f"{name}: {before!r} stands in it {source.count(before)} times"
        (copy / name).write_text(source.replace(before, after), "utf-8")
    return folder


def environment_of(folder: Path) -> dict[str, str]:
    """Of a process that finds the workflows below ``folder`` before the project's own."""
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}", "PYTHONDONTWRITEBYTECODE": "1"}


def failures_of(folder: Path, *histories: str) -> dict[str, str]:
    """By history: why the workflows below ``folder`` do not replay it, in the sandbox; empty where they do."""
    command = [sys.executable, "-m", "tests.support.replay", *histories]
    done = subprocess.run(
        command, cwd=folder, env=environment_of(folder), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
