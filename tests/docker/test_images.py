"""The Dockerfiles and the production profile: lint, what a build sees, what `parley config check` says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from settings.load import load
from tests.support.servers import executable

DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "docker"


def test_the_folder_is_no_package(folder: Path) -> None:
    """An __init__.py would hide the package of that name."""
    assert list(folder.glob("**/*.py")) == []


@pytest.mark.parametrize("name", [*DOCKERFILES, "Dockerfile.gramine"])
def test_hadolint_finds_nothing(name: str, folder: Path) -> None:
    """Not even what it calls a remark."""
    ended = subprocess.run([executable("hadolint"), folder / name], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def _let_in(folder: Path, dockerfile: str) -> list[str]:
    lines = (folder / f"{dockerfile}.dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines  # everything is left out first
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_build_sees_every_package_and_no_more(name: str, folder: Path, repository: Path) -> None:
    """The packages of the wheel, what installs them, and what the profile names."""
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    besides = ["LICENSE", "README.md", "constraints.txt", "pyproject.toml"]
    besides += ["docker/temporal.production.yaml", "examples/help"]
    assert sorted(_let_in(folder, name)) == sorted([*packages, *besides])
    assert [path for path in _let_in(folder, name) if not (repository / path).exists()] == []


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_let_in(name: str, folder: Path) -> None:
    """A COPY of a file that .dockerignore leaves out fails the build."""
    text = (folder / name).read_text("utf-8")
    copied = [
        source for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for source in line.split()[:-1]
    ]
    assert copied
    assert [source for source in copied if source != "." and source not in _let_in(folder, name)] == []


@pytest.mark.parametrize("name", DOCKERFILES)
def test_versions_are_those_of_the_constraints(name: str, folder: Path, repository: Path) -> None:
    """torch and Python are named in the Dockerfile, and are the project's."""
    text, constraints = (folder / name).read_text("utf-8"), (repository / "constraints.txt").read_text("utf-8")
    torch = re.search(r"torch==\S+", text)
    assert torch is not None
    assert torch[0] in constraints.splitlines()
    assert "FROM python:3.11-" in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_the_profile_needs_is_installed(name: str, folder: Path, repository: Path) -> None:
    """The extras of its database and its token log."""
    profile = load(folder / "temporal.production.yaml", {})
    wanted = {profile.records.database.split("+")[0], profile.records.token_log.split(":")[0]}
    extras = {"postgresql": "postgres", "redis": "redis"}
    installed = re.search(r"'\.\[([\w,]+)\]'", (folder / name).read_text("utf-8"))
    assert installed is not None
    assert sorted(installed[1].split(",")) == sorted(extras[each] for each in wanted)
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
    assert set(extras.values()) <= set(project["project"]["optional-dependencies"])


def _check(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    config = {"PARLEY_CONFIG": str(folder / "temporal.production.yaml")}
    command = [sys.executable, "-m", "cli.main", "config", "check"]
    return subprocess.run(
        command, cwd=folder.parent, env={**clean, **config, **environment}, capture_output=True, text=True, check=False
    )


def test_the_production_profile_is_right(folder: Path, tmp_path: Path) -> None:
    """With a folder where the model is to be, `parley config check` has nothing to say."""
    ended = _check(folder, PARLEY_MODEL__SOURCE=str(tmp_path))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "everything is right" in ended.stdout


@pytest.mark.skipif(Path("/models").exists(), reason="there are models on this machine")
def test_only_the_model_is_missing_here(folder: Path) -> None:
    """The weights are the one thing that the repository cannot bring."""
    ended = _check(folder)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "model.source: there is no /models/" in line
