"""The engine in its own process: frames, deaths, hangs, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dialogue.faults import EngineHung, EngineLost, ModelMissing, PromptTooLong
from model_runtime import framing
from model_runtime.engine_client import ProcessEngine
from model_runtime.protocol import GenerationRequest
from model_runtime.slot_engine import SlotEngine
from tests.model_runtime.conftest import collect, until

Ask = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
async def process_engine(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProcessEngine]:
    engine = ProcessEngine(
        model_folder,
        rows=4,
        widths=(256, 512),
        threads=1,
        hang_seconds=4,
        log_file=tmp_path_factory.mktemp("engine") / "engine.log",
    )
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def running(process_engine: ProcessEngine) -> ProcessEngine:
    """Running, whatever the test before did to it."""
    await process_engine.start()
    return process_engine


async def test_a_process_gives_the_same_tokens(running: ProcessEngine, engine: SlotEngine, ask: Ask) -> None:
    """Over the pipe, tokens, description and faults are those of the engine itself."""
    request = ask("p", "Tell me a story about a dog.", temperature=0.7, seed=3)
    assert await collect(running, request) == await collect(engine, request)
    assert await running.describe() == await engine.describe()
    assert (await running.stats())["requests"] >= 1
    with pytest.raises(PromptTooLong):
        await collect(running, GenerationRequest("long", (5,) * 600))


async def test_leaving_or_cancelling_frees_the_row(running: ProcessEngine, ask: Ask) -> None:
    """A reader that goes away and a cancel both end in the child what they end here."""
    async for _ in running.submit(ask("left", "Tell me a story.", max_new_tokens=400, watch=False)):
        break
    stream = running.submit(ask("cancelled", "Tell me a story.", max_new_tokens=400, watch=False))
    await anext(stream)
    await running.cancel("cancelled")
    assert [event async for event in stream][-1].finish == "cancelled"

    async def empty() -> bool:
        return (await running.capacity()).rows_busy == 0

    await until(empty)


async def test_a_killed_engine_is_lost_and_can_be_started_again(running: ProcessEngine, ask: Ask) -> None:
    """SIGKILL costs each running answer one EngineLost; after a start the rest of the answer is the same."""
    request = ask("k", "Tell me a story about a dog.", max_new_tokens=40, temperature=0.7, seed=1, watch=False)
    whole, _ = await collect(running, request)
    made: list[int] = []

    async def die_on_the_way() -> None:
        async for event in running.submit(request):
            made.extend(event.token_ids)
            if len(made) == 5:
                os.kill(running.pid or 0, signal.SIGKILL)

    with pytest.raises(EngineLost, match="SIGKILL"):
        await die_on_the_way()
    assert not running.running
    with pytest.raises(EngineLost):
        await collect(running, request)
    await running.start()
    again = ask("k", "Tell me a story about a dog.", max_new_tokens=40, temperature=0.7, seed=1, watch=False)
    resumed = GenerationRequest(again.id, again.prompt_ids, tuple(made), again.sampling)
    assert (await collect(running, resumed))[0] == whole


async def test_an_engine_that_hangs_is_ended(running: ProcessEngine, ask: Ask) -> None:
    """A stopped process that owes tokens raises EngineHung and is gone."""
    pid = running.pid or 0

    async def stop_on_the_way() -> None:
        async for _ in running.submit(ask("h", "Tell me a story.", max_new_tokens=400, watch=False)):
            os.kill(pid, signal.SIGSTOP)

    with pytest.raises(EngineHung):
        await stop_on_the_way()
    await until(lambda: not _runs(pid))


_STUCK = """#!{python}
import sys, time
from model_runtime import batch, engine_process
def a_step_that_never_ends(self):
    time.sleep(1000)
batch.Batch.step = a_step_that_never_ends
sys.argv = sys.argv[2:]
sys.exit(engine_process.main())
"""


async def test_an_engine_that_hangs_leaves_its_stacks_in_its_log(model_folder: Path, ask: Ask, tmp_path: Path) -> None:
    """Before it is ended, so that an operator learns where it hung."""
    stuck = tmp_path / "python"
    stuck.write_text(_STUCK.format(python=sys.executable))
    stuck.chmod(0o755)
    log = tmp_path / "engine.log"
    engine = ProcessEngine(
        model_folder, python=str(stuck), rows=1, widths=(256,), threads=1, hang_seconds=4, log_file=log
    )
    await engine.start()
    try:
        with pytest.raises(EngineHung):
            await collect(engine, ask("s", "Hello!", max_new_tokens=4))
    finally:
        await engine.close()
    assert "in a_step_that_never_ends" in log.read_text()


async def test_what_a_start_fails_of_is_told(tmp_path: Path) -> None:
    """The child's own fault comes over the pipe; an interpreter that is not there is named."""
    with pytest.raises(ModelMissing, match="was not prepared"):
        await ProcessEngine(tmp_path, log_file=tmp_path / "log").start()
    with pytest.raises(EngineLost, match=r"model\.python"):
        await ProcessEngine(tmp_path, python=str(tmp_path / "no-python")).start()
    with pytest.raises(EngineLost, match="while it started"):
        await ProcessEngine(tmp_path, python="/bin/true").start()


_PARENT = """
import asyncio, sys
from pathlib import Path
from model_runtime.engine_client import ProcessEngine
async def main():
    engine = ProcessEngine(Path(sys.argv[1]), rows=1, widths=(256,), threads=1)
    await engine.start()
    print(engine.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_an_engine_never_outlives_its_parent(model_folder: Path, repository: Path) -> None:
    """When the parent is killed, the child goes too."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PARENT, str(model_folder), stdout=asyncio.subprocess.PIPE, cwd=repository
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


_NOISY = """
import os
from model_runtime import engine_process, framing
_, answers = engine_process._private_pipes()
print("a library talks", flush=True)
os.write(answers, framing.pack({"op": "ready"}))
"""


def test_what_a_library_prints_never_reaches_the_pipe(repository: Path) -> None:
    """Frames stay whole: standard output leads to stderr once the pipes are private."""
    done = subprocess.run([sys.executable, "-c", _NOISY], capture_output=True, check=True, cwd=repository)
    assert done.stdout == framing.pack({"op": "ready"})
    assert b"a library talks" in done.stderr
