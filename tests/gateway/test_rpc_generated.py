"""What is generated from the ``.proto`` is what is committed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PLACE = "gateway/proto"


def test_the_python_is_what_the_documented_command_makes(repository: Path, tmp_path: Path) -> None:
    """The command of docs/grpc-web.md, with another place for what it makes."""
    page = (repository / "docs/grpc-web.md").read_text("utf-8")
    found = re.search(r"\$ (python -m grpc_tools\.protoc .*?\.proto)\n", page, re.DOTALL)
    assert found is not None
    documented = shlex.split(found[1].replace("\\\n", " "))
    command = [word.replace(f"out={PLACE}", f"out={tmp_path}") for word in documented]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, *command[1:]],
        cwd=repository,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    made = sorted(each.relative_to(tmp_path) for each in tmp_path.rglob("*") if each.is_file())
    assert [each.name for each in made] == ["dialogue_connect.py", "dialogue_pb2.py", "dialogue_pb2.pyi"]
    for each in made:
        assert (tmp_path / each).read_text("utf-8") == (repository / PLACE / each).read_text("utf-8"), str(each)
