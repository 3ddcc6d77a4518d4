"""Keeps named child processes running: starts them in order, restarts the dead, stops them in reverse order.

Each child leads a process group of its own, so that a Ctrl-C in the terminal reaches its keeper alone, and so that
whatever a dead child leaves behind (an engine, a server's workers) goes with it. A guard process (:mod:`cli.guard`)
ends all of them should the keeper itself be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cli import guard
from dialogue.faults import ParleyFault

__all__ = ["Backoff", "Child", "ChildFailed", "Ready", "Supervisor", "last_line"]

Ready = Callable[[int], Awaitable[bool]]
"""Asked again and again with the child's process id until it says yes."""

_LOOK_SECONDS = 0.05
_LOG_BYTES = 20_000_000


class ChildFailed(ParleyFault):
    """A child ended, or stayed silent, before it was ready."""

    type, title = "child-failed", "A process could not be started"


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep. ``environ`` is added to ours; ``stop_seconds`` is how long it may take to end by itself."""

    name: str
    command: tuple[str, ...]
    log: Path
    ready: Ready | None = None
    ready_seconds: float = 60.0
    stop_seconds: float = 15.0
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds before a restart: ``first``, then ``factor`` times more up to ``longest``; a child that was ready for
    ``steady`` seconds begins anew."""

    first: float = 0.1
    factor: float = 2.0
    longest: float = 30.0
    steady: float = 10.0


@dataclass(slots=True)
class _Held:
    """A child and its process. ``up`` is set while it is ready, since the loop's time ``ready_at``."""

    child: Child
    process: asyncio.subprocess.Process | None = None
    watch: asyncio.Task[None] | None = None
    started: float = 0.0
    ready_at: float = float("inf")
    up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def alive(self) -> asyncio.subprocess.Process | None:
        return self.process if self.process and self.process.returncode is None else None


class Supervisor:
    """An async context manager; leaving it leaves nothing running. ``tell`` gets one line for what people should
    know: a death, a restart, a child that had to be killed. Should this process be killed, its children have
    ``guard_seconds`` to end by themselves.
    """

    def __init__(
        self,
        tell: Callable[[str], None] = lambda line: None,
        *,
        backoff: Backoff | None = None,
        guard_seconds: float = 20.0,
    ) -> None:
        self._tell = tell
        self._backoff = backoff or Backoff()
        self._guard_seconds = guard_seconds
        self._groups: list[list[_Held]] = []
        self._guard: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of those that run now, by name."""
        return {held.child.name: held.process.pid for held in self._all() if held.alive and held.process}

    @property
    def names(self) -> tuple[str, ...]:
        """All that are kept, running or not."""
        return tuple(held.child.name for held in self._all())

    def _all(self) -> list[_Held]:
        return [held for group in self._groups for held in group]

    def _named(self, name: str) -> _Held:
        return next(held for held in self._all() if held.child.name == name)

    async def start(self, *children: Child) -> None:
        """Starts these at once and waits until all are ready. They are stopped together, before those started
        earlier. Raises :class:`ChildFailed` with the last line of a child's log.
        """
        group = [_Held(child) for child in children]
        self._groups.append(group)
        try:
            async with asyncio.TaskGroup() as starting:
                for held in group:
                    starting.create_task(self._first_start(held))
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None

    async def ready(self, name: str) -> int:
        """Waits until that child is ready (again); gives its process id."""
        held = self._named(name)
        await held.up.wait()
        return held.process.pid if held.process else 0

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Sends a signal to that child alone, by default the one it cannot refuse; gives the process id it had.
        It is restarted: await :meth:`ready`.
        """
        held = self._named(name)
        process = held.alive
        if process is None:
            raise ProcessLookupError(f"{name} does not run")
        held.up.clear()
        process.send_signal(number)
        return process.pid

    async def stop(self) -> None:
        """Stops all, the last started group first."""
        try:
            for group in reversed(self._groups):
                await asyncio.gather(*(self._stop(held) for held in group))
        finally:
            # interrupted here, the guard ends what is left
            if self._guard is not None and self._guard.stdin:
                self._guard.stdin.close()
        if self._guard is not None:
            await asyncio.to_thread(self._guard.wait)
        self._groups.clear()
        self._guard = None

    # one child -----------------------------------------------------------------------------------

    async def _first_start(self, held: _Held) -> None:
        await self._spawn(held)
        await self._until_ready(held)
        held.watch = asyncio.create_task(self._keep(held))

    async def _spawn(self, held: _Held) -> None:
        child = held.child
        with _opened(child.log) as log:
            held.process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.environ},
                start_new_session=True,
            )
        held.started, held.ready_at = asyncio.get_running_loop().time(), float("inf")
        self._tell_guard("+", held.process.pid)

    async def _until_ready(self, held: _Held) -> None:
        process, child = held.process, held.child
        if process is None:
            raise ChildFailed(f"{child.name} was not started")
        deadline = held.started + child.ready_seconds
        ended = asyncio.ensure_future(process.wait())
        try:
            while child.ready is not None and not await child.ready(process.pid):
                if asyncio.get_running_loop().time() > deadline:
                    raise _failed(child, f"was not ready within {child.ready_seconds:g} s")
                await asyncio.wait({ended}, timeout=_LOOK_SECONDS)
                if ended.done():
                    raise _failed(child, _how(ended.result()))
        finally:
            ended.cancel()
        held.ready_at = asyncio.get_running_loop().time()
        held.up.set()

    async def _keep(self, held: _Held) -> None:
        """Restarts the child whenever it ends, until this task is cancelled."""
        delay, loop = self._backoff.first, asyncio.get_running_loop()
        while held.process is not None:
            pid, code = held.process.pid, await held.process.wait()
            held.up.clear()
            self._sweep(pid)
            if loop.time() - held.ready_at >= self._backoff.steady:  # a start that takes long is no sign of health
                delay = self._backoff.first
            self._tell(f"{held.child.name} (pid {pid}) {_how(code)}; starting it again in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(delay * self._backoff.factor, self._backoff.longest)
            await self._start_again(held)

    async def _start_again(self, held: _Held) -> None:
        try:
            await self._spawn(held)
            await self._until_ready(held)
        except (ChildFailed, OSError) as fault:
            self._tell(str(fault))
            if held.alive:
                self._kill_group(held.process)
        else:
            self._tell(f"{held.child.name} runs again (pid {self.pids.get(held.child.name, 0)})")

    async def _stop(self, held: _Held) -> None:
        if held.watch is not None:
            held.watch.cancel()
            await asyncio.wait({held.watch})
        if process := held.alive:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), held.child.stop_seconds)
            except TimeoutError:
                self._tell(f"{held.child.name} did not stop within {held.child.stop_seconds:g} s and was killed")
                self._kill_group(process)
                await process.wait()
            self._sweep(process.pid)

    # groups --------------------------------------------------------------------------------------

    def _sweep(self, pid: int) -> None:
        """What a dead child started goes with it, before another takes its place."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._tell_guard("-", pid)

    def _kill_group(self, process: asyncio.subprocess.Process | None) -> None:
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _tell_guard(self, sign: str, pid: int) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(self._guard_seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        with contextlib.suppress(OSError):  # a guard that was killed is missed only if its keeper is killed too
            if self._guard.stdin:
                self._guard.stdin.write(f"{sign}{pid}\n".encode())


def _opened(path: Path) -> BinaryIO:
    """The log, to append to; a long one is put aside first, so that two of them are the most there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".1.log"))
    return path.open("ab")


def _failed(child: Child, how: str) -> ChildFailed:
    return ChildFailed(f"{child.name} {how}; see {child.log}{last_line(child.log)}")


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def last_line(log: Path) -> str:
    """The last line that is not empty, after a colon."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()[-20:] if line.strip()]
        if lines:
            return f": {lines[-1][:400]}"
    return ""
