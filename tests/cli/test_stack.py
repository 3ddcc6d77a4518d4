"""What `parley up` starts, and how it is told when it cannot."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console

import cli.stack
from cli.interrupts import until_told_to_stop
from cli.main import run
from cli.prepared import Prepared
from cli.stack import bring_up, describe_pool, worker_child
from cli.stages import Stages
from cli.supervisor import Child, ChildFailed
from dialogue.faults import ModelMissing, SettingsFault
from settings.layout import Layout
from settings.load import load
from settings.schema import PoolSettings, Settings
from tests.support.ports import free_port
from tests.support.site import write_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path) -> Settings:
    file = tmp_path / "temporal.yaml"
    file.write_text(
        f"temporal: {{address: '127.0.0.1:{free_port()}', dev_server: {{ui_port: {free_port()}}}}}\n"
        f"gateway: {{port: {free_port()}}}\n"
        f"model: {{source: 'wheel:no_such_model', name: none}}\n"
        f"intents: {{file: {ROOT / 'examples/help/intents.yaml'}}}\n"
    )
    return load(file)


def test_a_second_worker_of_a_pool_has_a_name_a_log_and_a_metrics_port_of_its_own(settings):
    """The pool's own port serves its first worker."""
    pool = PoolSettings(serves=("generate_answer",), processes=2, metrics_port=9100, shutdown_seconds=3)
    layout = Layout.of(settings)
    first, second = (worker_child(settings, layout, "gpu", pool, number) for number in (1, 2))
    assert (first.name, second.name) == ("gpu", "gpu-2")
    assert first.log != second.log
    assert "PARLEY_POOLS__GPU__METRICS_PORT" not in first.environ
    assert second.environ["PARLEY_POOLS__GPU__METRICS_PORT"] == "0"
    assert first.environ["PARLEY_CONFIG"] == str(settings.root / "temporal.yaml")
    assert first.stop_seconds > pool.shutdown_seconds


def test_pools_are_described_with_what_holds_the_model(settings):
    """The device and the rows stand with the pool that generates."""
    assert describe_pool(settings, "dialogue", settings.pools["dialogue"]) == "dialogue ✓"
    assert describe_pool(settings, "gpu", settings.pools["gpu"]) == "gpu ✓ (on the CPU, 8 rows)"


async def test_a_model_that_is_not_there_is_the_fault_of_up(settings):
    """As the preparing process told it; nothing was left running."""
    out = io.StringIO()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(ModelMissing, match="pip install no-such-model"):
        async with bring_up(settings, Console(file=out, width=100)):
            pass
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert "[1/6] Python environment" in out.getvalue()
    assert "[2/6]" not in out.getvalue()
    assert not (settings.data / "run/up.json").exists()


WAITS = """
import pathlib, signal, sys
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
told = {signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, told)
(folder / name).touch()
signal.sigwait(told)
with (folder / "stopped").open("a") as file:
    file.write(name + " ")
"""


async def test_what_does_not_need_another_starts_beside_it(settings, tmp_path, monkeypatch):
    """A server that is ready only once workers and gateway were started keeps none of them from it; the stages are
    told in order all the same, and everything stops in its order."""
    out = io.StringIO()

    def child(name: str, *needs: str) -> Child:
        async def ready(pid: int) -> bool:
            return all((tmp_path / each).exists() for each in (name, *needs))

        return Child(name, (sys.executable, "-c", WAITS, name, str(tmp_path)), tmp_path / f"{name}.log", ready)

    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(cli.stack, "prepared", lambda _: Prepared(("ready · 1 MB",), "1 documents"))
    monkeypatch.setattr(cli.stack, "server_child", lambda *_: child("temporal", "dialogue", "gpu", "gateway"))
    monkeypatch.setattr(cli.stack, "worker_child", lambda _s, _l, pool, *_: child(pool))
    monkeypatch.setattr(cli.stack, "gateway_child", lambda *_: child("gateway"))
    monkeypatch.setattr(cli.stack, "set_retention", nothing)
    async with asyncio.timeout(60):
        async with bring_up(settings, Console(file=out, width=100)) as up:
            assert up.supervisor.pids.keys() == {"temporal", "dialogue", "gpu", "gateway"}
    heads = [line.split("]")[0][-3:] for line in out.getvalue().splitlines() if "/6]" in line]
    assert heads == [f"{number}/6" for number in range(1, 7)]
    first, *workers, last = (tmp_path / "stopped").read_text().split()
    assert (first, {*workers}, last) == ("gateway", {"dialogue", "gpu"}, "temporal")


async def test_a_worker_that_cannot_start_ends_the_start(tmp_path):
    """With the last line of its log, however far the others are (both read the list); nothing was left running."""
    changes = {"policies": {"default": {"words": ["no-such-list.txt"]}}, "knowledge": {"sources": []}}
    settings = load(write_settings(tmp_path, changes))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(
        ChildFailed, match=r"(dialogue|gateway) ended with exit code 2; .*no-such-list\.txt: no such word list"
    ):
        async with bring_up(settings, Console(file=io.StringIO(), width=100)):
            pass
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert not (settings.data / "run/up.json").exists()


def test_prepare_tells_a_fault_as_a_line_of_json(tmp_path, monkeypatch, capsys):
    """For the program that started it, which raises it again; the exit code is the fault's own."""
    monkeypatch.setenv("PARLEY_CONFIG", str(tmp_path / "none.yaml"))
    assert run(["prepare", "--json"]) == 2
    out, err = capsys.readouterr()
    fault = json.loads(out)
    assert (fault["what"], fault["type"], err) == ("fault", SettingsFault.type, "")
    assert "none.yaml" in fault["text"]


def test_stages_are_numbered_lines_that_wrap_below_themselves():
    """What came of a stage stands in a column; a stage that fails has no line."""
    out = io.StringIO()
    stages = Stages(Console(file=out, width=60), 2)
    with stages.stage("Model small") as stage:
        stage.update("not shown: it took no time")
        stage.done("built 41 s · 192 MB · sha256 9c1e…")
    with pytest.raises(ValueError, match="no"), stages.stage("Knowledge base"):
        raise ValueError("no")
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines[0].startswith("  [1/2] Model small  ")
    assert "built 41 s" in lines[0]
    assert all(line.startswith(" " * 42) for line in lines[1:])
    assert "Knowledge" not in out.getvalue()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_what_runs_in_order_and_quietly(name):
    """What is inside can clean up, also when the signal comes twice; the exit code is 0."""
    code = f"""
import asyncio, os, signal
from cli.interrupts import until_told_to_stop
async def main():
    with until_told_to_stop():
        try:
            os.kill(os.getpid(), signal.{name})
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.{name})
            await asyncio.sleep(0)
            print("cleaned up")
    print("ended")
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "cleaned up\nended\n", "")


async def test_an_error_inside_is_not_taken_for_a_signal():
    """It goes on as it is."""
    with pytest.raises(ValueError, match="broken"), until_told_to_stop():
        raise ValueError("broken")
