"""`.ci/run` installs what is missing and nothing else, then lints and tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Programs of the names that the script calls, which write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = f'#!/bin/sh\necho "$(basename "$0") $*" >> "{tmp_path}/calls"\n'
    answers = {
        "make": '[ "$1" != "$FAILS" ]',
        "apt-get": "",
        "id": "echo ${USER_ID:-0}",
        "dpkg-query": 'case "$INSTALLED" in *"$3"*) echo installed;; *) exit 1;; esac',
    }
    for name, answer in answers.items():
        (programs / name).write_text((script if name in ("make", "apt-get") else "#!/bin/sh\n") + answer + "\n")
        (programs / name).chmod(0o755)
    return tmp_path / "calls"


def ci(calls: Path, **environment: str) -> tuple[int, list[str]]:
    path = f"{calls.parent / 'bin'}:{os.environ['PATH']}"
    ended = subprocess.run(
        [ROOT / ".ci" / "run"], env={**os.environ, **environment, "PATH": path}, capture_output=True, check=False
    )
    return ended.returncode, calls.read_text().splitlines()


def test_nothing_is_installed_twice(calls: Path) -> None:
    """Where everything is there, it lints and tests, in this order."""
    assert ci(calls, INSTALLED="chromium curl nginx-light postgresql redis-server") == (0, ["make lint", "make test"])


def test_what_is_missing_is_installed_first(calls: Path) -> None:
    """Only that, and only once the package lists are fresh."""
    install = "apt-get install -y --no-install-recommends postgresql"
    expected = ["apt-get update", install, "make lint", "make test"]
    assert ci(calls, INSTALLED="chromium curl nginx-light redis-server") == (0, expected)


def test_nobody_but_root_installs(calls: Path) -> None:
    """Tests that need the packages then say so themselves."""
    assert ci(calls, INSTALLED="", USER_ID="1000") == (0, ["make lint", "make test"])


def test_a_failure_ends_it(calls: Path) -> None:
    """What does not pass lint is not tested, and the exit code says so."""
    assert ci(calls, INSTALLED="chromium curl nginx-light postgresql redis-server", FAILS="lint") == (1, ["make lint"])
