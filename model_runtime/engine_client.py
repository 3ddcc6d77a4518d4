"""An engine in a process of its own, started from a configured interpreter and spoken to over a framed pipe.

The loop that heartbeats never waits for a step; a killed or hung engine costs its running answers one
:class:`~dialogue.faults.EngineLost` or :class:`~dialogue.faults.EngineHung` each and is started again by the next
:meth:`ProcessEngine.start`, without losing the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Literal

from dialogue.faults import EngineHung, EngineLost, ParleyFault, fault_named
from model_runtime import framing
from model_runtime.admission import admit
from model_runtime.protocol import Capacity, EngineDescription, GenerationRequest, TokenEvent

__all__ = ["ProcessEngine"]

_Item = TokenEvent | ParleyFault
_CLOSE_SECONDS = 5.0
_STACKS_SECONDS = 0.5
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent


class ProcessEngine:
    """An :class:`~model_runtime.protocol.Engine` that runs in a child process.

    ``python`` is the interpreter to start, which may be of another environment. ``widths`` are the cache lengths of a
    row in tokens, ``cache_bytes`` a bound of the key-value cache. ``threads`` are torch's: given, they spin a while
    before they sleep, for the cores are the engine's own; ``None``: half as many as there are cores, and they sleep.
    With answers in flight, ``hang_seconds`` without a step end the process; ``start_seconds`` bound loading and warming
    up, of which ``cache_folder`` keeps what need not be done again. The child's log goes to ``log_file``, or to this
    process's stderr. ``engine``: what computes in it, ``vllm`` with ``arguments`` by vLLM's own names.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        python: str = sys.executable,
        rows: int = 8,
        widths: tuple[int, ...] = (256, 512, 1024),
        threads: int | None = None,
        device: str = "cpu",
        hang_seconds: float = 60.0,
        start_seconds: float = 300.0,
        cache_bytes: int | None = None,
        log_file: Path | None = None,
        cache_folder: Path | None = None,
        engine: Literal["transformers", "vllm"] = "transformers",
        arguments: dict[str, Any] | None = None,
    ) -> None:
        self._python, self._log_file = str(python), log_file
        self._threads = threads or max(1, len(os.sched_getaffinity(0)) // 2)
        self._cores_are_its_own = threads is not None
        self._hang_seconds, self._start_seconds = hang_seconds, start_seconds
        self._options = {
            "engine": engine,
            "arguments": arguments or {},
            "model_folder": str(model_folder),
            "rows": rows,
            "widths": widths,
            "threads": self._threads,
            "device": device,
            "cache_bytes": cache_bytes,
            "cache_folder": cache_folder and str(cache_folder),
        }
        self._process: asyncio.subprocess.Process | None = None
        self._description: EngineDescription | None = None
        self._streams: dict[str, asyncio.Queue[_Item]] = {}
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self.seconds: dict[str, float] = {}
        """What the last start spent its time on, one thing after another."""
        self._starting = asyncio.Lock()
        self._heard = 0.0

    @property
    def pid(self) -> int | None:
        """The child's process id; ``None`` while it does not run."""
        return self._process.pid if self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None

    # life

    async def start(self) -> None:
        async with self._starting:
            if self._process is not None:
                return
            process = await self._spawn()
            try:
                async with asyncio.timeout(self._start_seconds):
                    self._description = await self._greeted(process)
            except BaseException as error:
                await _end(process)
                if isinstance(error, TimeoutError):
                    message = f"the engine was not ready within {self._start_seconds:.0f} s: see its log"
                    raise EngineHung(message) from error
                raise
            self._process = process
            self._heard = asyncio.get_running_loop().time()
            self._tasks = [
                asyncio.create_task(self._listen(process), name="engine frames"),
                asyncio.create_task(self._watch(process), name="engine watchdog"),
            ]

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")])),
            "PYTHONSAFEPATH": "1",
        }
        # At each of a thousand barriers a step, threads that sleep cost half of the time where the cores are free, and
        # threads that spin a factor of two to four where another process has one of them.
        if self._cores_are_its_own:
            environment.setdefault("GOMP_SPINCOUNT", "20000")
        else:
            environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        environment["OMP_NUM_THREADS"] = str(self._threads)
        command = [self._python, "-m", "model_runtime.engine_process", json.dumps(self._options)]
        pipe = asyncio.subprocess.PIPE
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self._log_file.open("ab")) if self._log_file is not None else None
            try:
                return await asyncio.create_subprocess_exec(
                    *command, stdin=pipe, stdout=pipe, stderr=log, env=environment, limit=1 << 20
                )
            except OSError as error:
                raise EngineLost(f"{self._python} cannot be started ({error}): set model.python") from error

    async def _greeted(self, process: asyncio.subprocess.Process) -> EngineDescription:
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            message = await framing.read(process.stdout)
        except ValueError as error:
            raise EngineLost(f"the engine's pipe holds no frames ({error}): see its log") from error
        if message is None:
            raise EngineLost(f"the engine's process {_ending(await process.wait())} while it started: see its log")
        if message["op"] == "failed":
            raise fault_named(message["type"], message["message"])
        self.seconds = message["seconds"]
        raw = message["description"]
        lists = {name: tuple(value) for name, value in raw.items() if isinstance(value, list)}
        return EngineDescription(**{**raw, **lists})

    async def close(self) -> None:
        process = self._process
        if process is None:
            return
        self._send({"op": "close"})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await process.wait()
        await self._lose(process, EngineLost("the engine was closed"))

    async def _lose(self, process: asyncio.subprocess.Process, fault: ParleyFault) -> None:
        """Ends the process for good and tells everyone who waits for it."""
        if self._process is process:
            self._process = None
            for stream in self._streams.values():
                stream.put_nowait(fault)
            for call in self._calls.values():
                if not call.done():
                    call.set_exception(fault)
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
        await _end(process)

    # frames

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        fault = None
        try:
            while (message := await framing.read(process.stdout)) is not None:
                self._heard = loop.time()
                self._hear(message)
        except (ValueError, KeyError) as error:
            fault = EngineLost(f"the engine said what is no frame: {error}")
            process.kill()
        code = await process.wait()
        await self._lose(process, fault or EngineLost(f"the engine's process {_ending(code)}: see its log"))

    def _hear(self, message: dict[str, Any]) -> None:
        if message["op"] == "event":
            event = framing.unpack_event(message["event"])
            if event.id in self._streams:
                self._streams[event.id].put_nowait(event)
        elif message["op"] == "error" and message["id"] in self._streams:
            details = {"alone": True} if message["alone"] else {}
            self._streams[message["id"]].put_nowait(fault_named(message["type"], message["message"], **details))
        elif message["op"] == "reply":
            call = self._calls.get(message["call"])
            if call is not None and not call.done():
                call.set_result(message["value"])

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Ends a process that gives no sign of life while something is asked of it.

        A late look is not held against the engine: this loop itself was held up, and frames may wait unread.
        """
        loop, pause = asyncio.get_running_loop(), self._hang_seconds / 4
        while True:
            before = loop.time()
            await asyncio.sleep(pause)
            now = loop.time()
            asked = bool(self._streams or self._calls)
            if not asked or now - before > 2 * pause:
                self._heard = now
            elif now - self._heard > self._hang_seconds:
                fault = EngineHung(f"the engine made no step for {now - self._heard:.0f} s: it is replaced")
                await _tell_stacks(process)
                await self._lose(process, fault)
                return

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise EngineLost("the engine does not run: start it again")
        self._process.stdin.write(framing.pack(message))

    # the protocol

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        if (known := self._description) is not None:
            admit(request, vocabulary=known.vocabulary, longest=known.widths[-1], running=self._streams.keys())
        self._send({"op": "submit", "request": framing.pack_request(request)})
        stream = self._streams[request.id] = asyncio.Queue()
        ended = False
        try:
            while not ended:
                item = await stream.get()
                ended = isinstance(item, ParleyFault) or item.finish is not None
                if isinstance(item, ParleyFault):
                    raise item
                yield item
        finally:
            del self._streams[request.id]
            if not ended:
                with contextlib.suppress(EngineLost):
                    self._send({"op": "cancel", "id": request.id})

    async def cancel(self, request_id: str) -> None:
        with contextlib.suppress(EngineLost):
            self._send({"op": "cancel", "id": request_id})

    async def capacity(self) -> Capacity:
        return Capacity(**await self._call("capacity"))

    async def describe(self) -> EngineDescription:
        if self._description is None:
            raise EngineLost("the engine was never started: start it first")
        return self._description

    async def stats(self) -> dict[str, Any]:
        return await self._call("stats")

    async def _call(self, op: str) -> dict[str, Any]:
        number = next(self._numbers)
        self._send({"op": op, "call": number})
        call = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            return await call
        finally:
            del self._calls[number]


async def _tell_stacks(process: asyncio.subprocess.Process) -> None:
    """Where its threads are, into its log: nobody can ask it later."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(_STACKS_SECONDS)  # nothing tells when it has written; one that is stopped never does


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kills what still runs, waits for it and closes the pipes."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()


def _ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"
