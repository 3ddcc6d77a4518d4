"""Breaks what a site stands on, the way it breaks in a machine room, and looks where an operator looks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from temporalio.service import RPCError

from cli.doctor_checks import CHECKS, Line
from cli.doctor_checks import Site as Examined
from cli.doctor_command import examine
from tests.support.site import REPOSITORY, Site

__all__ = [
    "QUESTION",
    "Ended",
    "Failure",
    "away",
    "doctor",
    "engine_of",
    "failing",
    "held",
    "logged",
    "no_room",
    "parley",
    "until",
]

QUESTION = "How long do I have to send back shoes I bought online?"


@dataclass(frozen=True)
class Failure:
    """What the Web UI shows of an activity that waits for its next attempt."""

    step: str
    type: str
    message: str
    attempt: int


Found = TypeVar("Found")


async def until(met: Callable[[], Awaitable[Found | None]], seconds: float = 100) -> Found:
    """What ``met()`` gives once it is something: for what no event tells, such as Temporal's pending activities."""
    async with asyncio.timeout(seconds):
        while (found := await met()) is None:  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.1)
    return found


async def failing(site: Site, conversation: str, step: str) -> Failure:
    """Waits until an attempt of that step has failed."""

    async def pending() -> Failure | None:
        try:
            described = await site.client.get_workflow_handle(conversation).describe()
        except RPCError:  # not begun yet
            return None
        for each in described.raw_description.pending_activities:
            if each.activity_type.name == step and each.HasField("last_failure"):
                failure = each.last_failure
                return Failure(step, failure.application_failure_info.type, failure.message, each.attempt)
        return None

    return await until(pending)


def logged(site: Site, pool: str, conversation: str | None = None) -> list[dict[str, Any]]:
    """The lines of a pool's log, of one conversation or of all."""
    text = (site.layout.logs / f"{pool}.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if conversation in (None, line.get("conversation"))]


async def doctor(site: Site, check: str) -> list[Line]:
    """What ``parley doctor`` says of one thing."""
    checks = tuple(each for each in CHECKS if each.name == check)
    return await examine(Examined(site.settings, site.layout), checks)


# what breaks ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_room(pid: int) -> Iterator[None]:
    """No file of that process may grow: the kernel refuses every write of it, as on a full disk."""
    process = psutil.Process(pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def away(path: Path) -> Iterator[None]:
    """Renamed, and put back at the end."""
    elsewhere = path.with_name(f"{path.name}.away")
    path.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(path)


_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


@contextlib.asynccontextmanager
async def held(database: Path, *, stopped: bool = False) -> AsyncIterator[None]:
    """Another process is in the middle of a transaction. ``stopped``: it was about to end it, but it sleeps (SIGSTOP)
    until the end.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HOLD, str(database), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    if stopped:
        process.send_signal(signal.SIGSTOP)
        process.stdin.write(b"go on\n")
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
        await process.communicate(b"go on\n")
        assert process.returncode == 0


def engine_of(site: Site) -> psutil.Process:
    """The engine's own process, a child of the GPU pool's worker."""
    children = psutil.Process(site.up.supervisor.pids["gpu"]).children(recursive=True)
    return next(each for each in children if "engine_process" in " ".join(each.cmdline()))


# commands ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


async def parley(site: Site, *arguments: str, fsize: int | None = None, **environment: str) -> Ended:
    """Runs a command as an operator would; ``fsize``: where no file may be larger than so many bytes."""
    command = [sys.executable, "-m", "tests.faults.limited", str(fsize or -1), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **site.environment, **environment},
    )
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    return Ended(process.returncode or 0, output.decode(), errors.decode())
