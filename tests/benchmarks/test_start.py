"""`python -m benchmarks start`: what it measures is what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.started import LIBRARIES, Starter, _imported


@pytest.mark.full
async def test_a_process_alone_stands_beside_its_floor(tmp_path: Path) -> None:
    """The server that `parley up` starts, and the gateway with it: nothing is quicker than its libraries alone."""
    starter = Starter(tmp_path, build_model=False)
    server, gateway = await starter.alone("temporal"), await starter.alone("gateway")
    floor = await starter.floor("gateway")
    assert min(server.seconds, server.cpu_seconds) > 0
    assert gateway.cpu_seconds > floor.cpu_seconds > 0.1
    assert gateway.seconds > 0.1


@pytest.mark.full
async def test_imports_are_told_by_package(tmp_path: Path) -> None:
    """Those of the process itself, ours among them; the heaviest first."""
    told = await Starter(tmp_path, build_model=False).imports("gateway")
    assert told.keys() == {"gateway"}
    seconds = list(told["gateway"].values())
    assert told["gateway"].keys() >= {"temporalio", "settings"}
    assert seconds == sorted(seconds, reverse=True)


def test_a_module_s_time_counts_for_its_package(tmp_path: Path) -> None:
    """Its own and not that of what it imports; other lines of the log are passed over."""
    log = tmp_path / "process.log"
    log.write_text(
        "import time: self [us] | cumulative | imported package\n"
        'import time:    250000 |     250000 |   torch._C\n{"event": "worker ready"}\n'
        "import time:    500000 |     750000 | torch\nimport time:     10000 |      10000 |     numpy\n"
    )
    assert _imported(log) == {"torch": 0.75, "numpy": 0.01}


@pytest.mark.full
def test_the_floor_imports_what_the_processes_use(repository: Path) -> None:
    """Each can be imported, in one go; a renamed one would make the floor too low."""
    code = "; ".join(f"import {names}" for name, names in LIBRARIES.items() if name != "dialogue")
    ended = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_report_holds_every_process(repository: Path, tmp_path: Path) -> None:
    """The whole, the server, both pools and the gateway, each with its floor; and where the time went."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "start", "--quick", "--json", str(file)]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(file.read_text("utf-8"))["results"]["start"]
    assert [row["what"] for row in report["rows"]] == ["parley up", "temporal", "dialogue", "gpu", "gateway"]
    for row in report["rows"]:
        for figure in (row["seconds"], row["cpu_seconds"], row["floor_seconds"], *row["to_floor"].values()):
            assert 0 < figure["least"] <= figure["median"] <= figure["greatest"]
    steps = {row["what"]: row["steps"] for row in report["rows"]}
    assert steps["dialogue"].keys() >= {"imports", "records", "policies", "tokenizers", "embedding model", "intents"}
    assert any(name.endswith(": weights") for name in steps["gpu"])
    assert len(steps["parley up"]) == 6
    assert report["import_seconds"].keys() == {"dialogue", "gpu", "engine", "gateway"}
    assert report["import_seconds"]["engine"]["torch"] > 0
    assert "torch" not in report["import_seconds"]["gpu"]
    assert "dialogue: embedding model" in ended.stdout
