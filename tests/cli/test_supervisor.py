"""Child processes are kept, restarted, stopped in order, and never left behind."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from cli.supervisor import Backoff, Child, ChildFailed, Supervisor

QUICK = Backoff(first=0.02, longest=0.1)


def python(tmp_path: Path, name: str, code: str, **options) -> Child:
    """A child that runs ``code``; it is ready once it has written its pid to ``<name>.ready``."""
    ready = tmp_path / f"{name}.ready"
    head = f"""
        import os, pathlib, signal, subprocess, sys, time
        ready = pathlib.Path({str(ready)!r})
        stopped = pathlib.Path({str(tmp_path / "stopped")!r})
        def is_ready(): ready.write_text(str(os.getpid()))
        def on_stop(action):
            def handle(*_):
                action(); os._exit(0)
            signal.signal(signal.SIGTERM, handle)
    """

    async def says_so(pid: int) -> bool:
        return ready.is_file() and ready.read_text() == str(pid)

    source = textwrap.dedent(head) + textwrap.dedent(code)
    return Child(name, (sys.executable, "-c", source), tmp_path / "logs" / f"{name}.log", says_so, **options)


STAYS = "is_ready(); time.sleep(600)"


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def gone(*pids: int) -> bool:
    """Waits until none of them runs; raises TimeoutError where one goes on."""
    async with asyncio.timeout(20):
        while any(map(alive, pids)):  # noqa: ASYNC110 - the end of another child raises no event here
            await asyncio.sleep(0.02)
    return True


async def test_children_are_ready_when_start_returns(tmp_path):
    """Every child of a group has said that it is ready, and has a process id of its own."""
    async with Supervisor() as supervisor:
        await supervisor.start(python(tmp_path, "a", STAYS), python(tmp_path, "b", STAYS))
        pids = supervisor.pids
        assert set(pids) == {"a", "b"}
        assert all(map(alive, pids.values()))
        assert (tmp_path / "a.ready").read_text() == str(pids["a"])
    assert await gone(*pids.values())


async def test_a_killed_child_is_restarted_and_a_line_says_so(tmp_path):
    """kill -9: another process takes its place, as often as it takes."""
    told = []
    async with Supervisor(told.append, backoff=QUICK) as supervisor:
        await supervisor.start(python(tmp_path, "gpu", STAYS))
        for _ in range(2):
            killed = supervisor.kill("gpu")
            again = await asyncio.wait_for(supervisor.ready("gpu"), 20)
            assert again != killed
            assert alive(again)
            assert await gone(killed)
    text = "\n".join(told)
    assert f"gpu (pid {killed}) was killed by SIGKILL; starting it again in" in text
    assert f"gpu runs again (pid {again})" in text


async def test_what_a_dead_child_started_dies_with_it(tmp_path):
    """The engine of a killed worker does not stay behind to hold its memory."""
    code = """
        engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path(ready.parent, "engine").write_text(str(engine.pid))
        is_ready(); time.sleep(600)
    """
    async with Supervisor(backoff=QUICK) as supervisor:
        await supervisor.start(python(tmp_path, "gpu", code))
        first = int((tmp_path / "engine").read_text())
        supervisor.kill("gpu")
        await asyncio.wait_for(supervisor.ready("gpu"), 20)
        assert await gone(first)
        second = int((tmp_path / "engine").read_text())
        assert alive(second)
    assert await gone(second)


async def test_restarts_come_later_and_later(tmp_path):
    """A child that cannot stay up is tried again after growing pauses, up to a bound."""
    told: asyncio.Queue[str] = asyncio.Queue()
    code = f"if ready.exists(): sys.exit(3)\n{STAYS}"
    async with Supervisor(told.put_nowait, backoff=Backoff(first=0.01, factor=2, longest=0.04)) as supervisor:
        await supervisor.start(python(tmp_path, "a", code))
        supervisor.kill("a")
        pauses, codes = [], 0
        async with asyncio.timeout(30):
            while len(pauses) < 4:
                line = await told.get()
                codes += "ended with exit code 3" in line
                if "starting it again" in line:
                    pauses.append(line.split()[-2])
    assert pauses == ["0.01", "0.02", "0.04", "0.04"]
    assert codes >= 3


async def test_the_pauses_begin_anew_for_a_child_that_was_ready_for_a_while(tmp_path):
    """However long its start took: one that comes up and goes down again at once is no healthy child."""
    told: asyncio.Queue[str] = asyncio.Queue()
    for steady, expected in ((0.0, ["0.01", "0.01", "0.01"]), (600.0, ["0.01", "0.02", "0.04"])):
        backoff = Backoff(first=0.01, factor=2, longest=0.04, steady=steady)
        async with Supervisor(told.put_nowait, backoff=backoff) as supervisor:
            await supervisor.start(python(tmp_path, f"steady-{steady}", f"time.sleep(0.2)\n{STAYS}"))
            pauses = []
            for _ in range(3):
                supervisor.kill(f"steady-{steady}")
                async with asyncio.timeout(30):
                    while "starting it again" not in (line := await told.get()):
                        pass
                    pauses.append(line.split()[-2])
                    await supervisor.ready(f"steady-{steady}")
        assert pauses == expected


async def test_groups_stop_in_reverse_order(tmp_path):
    """The gateway before the workers, the workers before the server they need to finish."""
    code = """
        def note():
            with stopped.open("a") as file: file.write(ready.stem + " ")
        on_stop(note); is_ready(); time.sleep(600)
    """
    async with Supervisor() as supervisor:
        for name in ("server", "worker", "gateway"):
            await supervisor.start(python(tmp_path, name, code))
    assert (tmp_path / "stopped").read_text().split() == ["gateway", "worker", "server"]


async def test_a_child_that_will_not_stop_is_killed(tmp_path):
    """After its time, and a line says so."""
    told = []
    code = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{STAYS}"
    async with Supervisor(told.append) as supervisor:
        await supervisor.start(python(tmp_path, "stubborn", code, stop_seconds=0.2))
        pid = supervisor.pids["stubborn"]
    assert not alive(pid)
    assert told == ["stubborn did not stop within 0.2 s and was killed"]


async def test_a_child_that_ends_before_it_is_ready_fails_the_start(tmp_path):
    """With its exit code, its log and the last line of it; those started beside it are stopped."""
    bad = python(tmp_path, "bad", "print('temporal.yaml:3: no such setting'); sys.exit(2)")
    async with Supervisor() as supervisor:
        with pytest.raises(ChildFailed, match=r"bad ended with exit code 2; see .*bad\.log: temporal\.yaml:3: no such"):
            await supervisor.start(python(tmp_path, "good", STAYS), bad)
        pids = supervisor.pids
    assert await gone(*pids.values())


async def test_a_child_that_stays_silent_fails_the_start(tmp_path):
    """Within the seconds it was given."""
    async with Supervisor() as supervisor:
        with pytest.raises(ChildFailed, match=r"silent was not ready within 0\.3 s"):
            await supervisor.start(python(tmp_path, "silent", "time.sleep(600)", ready_seconds=0.3))
        pid = supervisor.pids["silent"]
    assert not alive(pid)


KEEPER = """
import asyncio, sys
from pathlib import Path
from cli.supervisor import Child, Supervisor

async def main(folder):
    async def ready(pid):
        return (folder / "ready").exists()
    code = '''
import pathlib, signal, subprocess, sys, time
STUBBORN
engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1], "ready").write_text(str(engine.pid)); time.sleep(600)'''
    async with Supervisor(guard_seconds=0.5) as supervisor:
        child = Child("a", (sys.executable, "-c", code, str(folder)), folder / "a.log", ready)
        await supervisor.start(child)
        print(supervisor.pids["a"], flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("stubborn", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
async def test_children_go_when_their_keeper_is_killed(tmp_path, stubborn):
    """kill -9 of the keeper: the guard ends its children and theirs, also one that ignores SIGTERM."""
    keeper = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        KEEPER.replace("STUBBORN", stubborn),
        str(tmp_path),
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        assert keeper.stdout is not None
        child = int(await keeper.stdout.readline())
        engine = int((tmp_path / "ready").read_text())
        guards = [each.pid for each in psutil.Process(keeper.pid).children() if each.pid != child]
        assert len(guards) == 1
        assert alive(child)
        assert alive(engine)
    finally:
        keeper.kill()
        await keeper.communicate()
    assert await gone(child, engine, *guards)


async def test_a_cancelled_start_leaves_nothing(tmp_path):
    """Ctrl-C while something is still starting."""
    asked: asyncio.Queue[int] = asyncio.Queue()

    async def never(pid: int) -> bool:
        asked.put_nowait(pid)
        return False

    async def start() -> None:
        async with Supervisor() as supervisor:
            command = (sys.executable, "-c", "import time; time.sleep(600)")
            await supervisor.start(Child("slow", command, tmp_path / "slow.log", never))

    task = asyncio.create_task(start())
    pid = await asyncio.wait_for(asked.get(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)
