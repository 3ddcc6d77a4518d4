"""One ``parley up`` at a time on a data folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.readiness import clear_stale, gateway_url, listens
from cli.running import AlreadyRunning, Running, only_one, running

ROOT = Path(__file__).parents[2]
STATE = Running(os.getpid(), "http://127.0.0.1:8088", "127.0.0.1:7233", "http://127.0.0.1:8233", {"gpu": 12})


def test_nothing_runs_where_nothing_was_started(tmp_path):
    """No folder, no file: no error either, and looking makes neither."""
    assert running(tmp_path / "run") is None
    assert not (tmp_path / "run").exists()


def test_what_runs_can_be_found_until_it_ends(tmp_path):
    """Its addresses are there once published; afterwards they are gone with the lock."""
    with only_one(tmp_path) as place:
        assert running(tmp_path) is None
        place.publish(STATE)
        assert running(tmp_path) == STATE
    assert running(tmp_path) is None
    assert not (tmp_path / "up.json").exists()


def test_a_second_one_is_refused_with_pid_and_addresses(tmp_path):
    """Also while the first is still starting; the refusal leaves the first as it was."""
    with only_one(tmp_path) as place:
        with pytest.raises(AlreadyRunning, match=rf"pid {os.getpid()}\) and is still starting"), only_one(tmp_path):
            pass
        place.publish(STATE)
        with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:8088, Web UI .* `kill \d+`"), only_one(tmp_path):
            pass
        assert running(tmp_path) == STATE


def test_a_killed_one_holds_nothing(tmp_path):
    """kill -9 leaves files behind, but the lock ends with the process: neither is taken for one that runs."""
    code = """
import os, sys
from pathlib import Path
from cli.running import Running, only_one
with only_one(Path(sys.argv[1])) as place:
    place.publish(Running(os.getpid(), "g", "t", "w", {}))
    os.kill(os.getpid(), 9)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert ended.returncode == -9
    assert (tmp_path / "up.json").exists()
    assert running(tmp_path) is None
    with only_one(tmp_path) as place:
        place.publish(STATE)
        assert running(tmp_path) == STATE


def test_a_ready_file_counts_only_when_its_process_wrote_it(tmp_path):
    """One that an earlier process left behind does not make a restarted one ready."""
    file = tmp_path / "gateway.json"
    assert not listens(file, os.getpid())
    file.write_text("{")
    assert not listens(file, os.getpid())
    file.write_text('{"pid": 1, "url": "http://127.0.0.1:8088"}')
    assert not listens(file, os.getpid())
    file.write_text(f'{{"pid": {os.getpid()}, "url": "http://127.0.0.1:8088"}}')
    assert listens(file, os.getpid())
    assert gateway_url(file) == "http://127.0.0.1:8088"


def test_files_of_the_dead_are_cleared_and_others_kept(tmp_path):
    """A worker that somebody runs beside `parley up` keeps its file."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"worker-gpu-{ended.pid}.json").write_text(f'{{"pid": {ended.pid}}}')
    (tmp_path / "worker-gpu-1.json").write_text(f'{{"pid": {os.getpid()}}}')
    (tmp_path / "gateway.json").write_text("")
    clear_stale(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["worker-gpu-1.json"]
