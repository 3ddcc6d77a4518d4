"""A folder as a newcomer has it: ``temporal.yaml``, the examples, documents of one's own, and ``parley`` to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.support.ports import free_port

SECONDS = 150


@dataclass(frozen=True)
class Folder:
    """Where documented commands are typed."""

    path: Path
    environment: Mapping[str, str]

    def type(self, line: str, *, said: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs one line as a shell does."""
        return subprocess.run(
            ["bash", "-c", line],
            cwd=self.path,
            env={**self.environment, **environment},
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )


def make_folder(path: Path) -> Folder:
    """Links to what belongs to the project, and a ``parley`` that runs this checkout whether it is installed or not."""
    path.mkdir(exist_ok=True)
    for name in ("examples", "tests", "Makefile", "constraints.txt", "pyproject.toml"):
        (path / name).symlink_to(ROOT / name)
    (path / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / "temporal.yaml", path)
    documents = path / "my-documents"
    documents.mkdir()
    shutil.copy(ROOT / "examples/help/en/contact.md", documents)
    programs = path / "bin"
    programs.mkdir()
    parley = programs / "parley"
    parley.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    parley.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PARLEY_", "TEMPORAL_"))},
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "PARLEY_TEMPORAL__ADDRESS": f"127.0.0.1:{free_port()}",
        "PARLEY_TEMPORAL__DEV_SERVER__UI_PORT": str(free_port()),
        "PARLEY_GATEWAY__PORT": str(free_port()),
    }
    return Folder(path, environment)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a site whose knowledge base holds one document."""
    folder = make_folder(tmp_path_factory.mktemp("docs") / "site")
    added = folder.type("parley kb add my-documents")
    assert added.returncode == 0, added.stderr
    return folder.path / "var"


@pytest.fixture
def folder(tmp_path: Path, prepared: Path) -> Folder:
    made = make_folder(tmp_path / "site")
    shutil.copytree(prepared, made.path / "var")
    return made
