"""The build that a worker says it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from workers.build import build_id


def test_the_same_code_is_the_same_build(tmp_path: Path, repository: Path) -> None:
    """Wherever it lies; bytecode and other files beside it do not count."""
    for package in ("workflows", "workers"):
        shutil.copytree(repository / package, tmp_path / package)
    one = build_id(tmp_path)
    (tmp_path / "workers" / "notes.txt").write_text("beside it")
    (tmp_path / "workers" / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "workers" / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"bytecode")
    assert build_id(tmp_path) == one
    assert build_id() == build_id(repository) != one


def test_other_code_is_another_build(tmp_path: Path) -> None:
    """A byte changed, a file renamed, a file added."""
    (tmp_path / "workflows").mkdir()
    file = tmp_path / "workflows" / "turn.py"
    builds = []
    for content in (b"a", b"b"):
        file.write_bytes(content)
        builds.append(build_id(tmp_path))
    file = file.rename(file.with_name("turns.py"))
    builds.append(build_id(tmp_path))
    file.with_name("more.py").touch()
    builds.append(build_id(tmp_path))
    assert len(set(builds)) == 4
