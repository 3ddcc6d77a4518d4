"""The engine's own process: ``python -m model_runtime.engine_process '{"model_folder": ...}'``.

Commands come as frames on standard input, events and replies go as frames on standard output (see ``framing``).
It says ``ready`` once warm, or ``failed`` and why. It ends when its input ends, so it never outlives its parent; the
processes that vLLM starts below it import this module as they start, and end with whoever started them.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dialogue.faults import ModelFault, ParleyFault
from model_runtime import framing

if TYPE_CHECKING:
    from model_runtime.slot_engine import SlotEngine
    from model_runtime.vllm_engine import VllmEngine

__all__ = ["main"]

BEAT_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
_log = logging.getLogger("model_runtime.engine_process")


def main() -> int:
    gc.disable()  # while torch is imported, looking for garbage costs a fifth of the time and finds next to none
    commands, answers = _private_pipes()
    _die_with_parent()
    faulthandler.register(signal.SIGUSR1)  # the parent asks for every thread's stack before it ends one that hangs
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when we end
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    code = asyncio.run(_serve(json.loads(sys.argv[1]), commands, answers))
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # native threads may still run: nothing is left to tidy up, and tidying up can crash


def _private_pipes() -> tuple[int, int]:
    """Keeps the pipes to ourselves: what a library prints or reads goes to stderr or nowhere."""
    commands, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, answers


def _die_with_parent() -> None:
    """On Linux the kernel ends us with our parent, even in the middle of a long step."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _serve(options: dict[str, Any], commands: int, answers: int) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(commands, "rb", 0))
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(answers, "wb", 0))
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    ended = asyncio.create_task(_commands_into(queue := asyncio.Queue(), reader))
    starting = asyncio.create_task(_start(options))
    await asyncio.wait([ended, starting], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        return 0  # the parent went away while we loaded
    if (error := starting.exception()) is not None:
        fault = error if isinstance(error, ParleyFault) else ModelFault(f"the engine cannot start: {error!r}")
        _log.error("start failed", exc_info=error)
        writer.write(framing.pack({"op": "failed", "type": fault.type, "message": str(fault)}))
        await writer.drain()
        return 1
    engine = starting.result()
    code = await _Server(engine, writer).run(queue)
    await engine.close()
    return code


async def _start(options: dict[str, Any]) -> SlotEngine | VllmEngine:
    from pathlib import Path

    began = time.monotonic()
    engine: SlotEngine | VllmEngine
    folder, widths, cache = Path(options.pop("model_folder")), tuple(options.pop("widths")), options.pop("cache_folder")
    if options.pop("engine") == "vllm":
        from model_runtime.vllm_engine import VllmEngine

        options.pop("cache_bytes")
        engine = VllmEngine(folder, widths=widths, **options)
    else:
        from model_runtime.slot_engine import SlotEngine

        options.pop("arguments")
        engine = SlotEngine(folder, widths=widths, cache_folder=Path(cache) if cache else None, **options)
    imported = round(time.monotonic() - began, 3)
    await engine.start()
    engine.seconds = {"imports": imported, **engine.seconds}
    _log.info("ready: %s", ", ".join(f"{what} {seconds:.1f} s" for what, seconds in engine.seconds.items()))
    # what is there now stays: the collector need not look through it between two steps
    gc.freeze()
    gc.enable()
    return engine


async def _commands_into(queue: asyncio.Queue[dict[str, Any] | None], reader: asyncio.StreamReader) -> None:
    """Reads ahead, so that the end of the pipe is seen at any time; ``None`` stands for it."""
    message: dict[str, Any] | None = {}
    while message is not None:
        message = await framing.read(reader)
        queue.put_nowait(message)


class _Server:
    def __init__(self, engine: SlotEngine | VllmEngine, writer: asyncio.StreamWriter) -> None:
        self._engine, self._writer = engine, writer
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, queue: asyncio.Queue[dict[str, Any] | None]) -> int:
        self._send(
            {"op": "ready", "description": asdict(await self._engine.describe()), "seconds": self._engine.seconds}
        )
        self._spawn(self._beat())
        while (message := await queue.get()) is not None and message["op"] != "close":
            if message["op"] == "submit":
                self._spawn(self._stream(message))
            elif message["op"] == "cancel":
                await self._engine.cancel(message["id"])
            else:
                self._spawn(self._reply(message))
        return 0

    async def _stream(self, message: dict[str, Any]) -> None:
        request = framing.unpack_request(message["request"])
        try:
            async for event in self._engine.submit(request):
                self._send({"op": "event", "event": framing.pack_event(event)})
                await self._writer.drain()
        except ParleyFault as fault:
            alone = bool(fault.details.get("alone"))
            self._send({"op": "error", "id": request.id, "type": fault.type, "message": str(fault), "alone": alone})

    async def _reply(self, message: dict[str, Any]) -> None:
        value = asdict(await self._engine.capacity()) if message["op"] == "capacity" else await self._engine.stats()
        self._send({"op": "reply", "call": message["call"], "value": value})

    async def _beat(self) -> None:
        """Tells that steps are made, also while they give no token. An engine that hangs falls silent."""
        steps = -1
        while True:
            if steps != self._engine.steps:
                steps = self._engine.steps
                self._send({"op": "beat", "steps": steps})
            await asyncio.sleep(BEAT_SECONDS)

    def _send(self, message: dict[str, Any]) -> None:
        self._writer.write(framing.pack(message))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.critical("a task of the engine failed", exc_info=task.exception())
            logging.shutdown()
            os._exit(1)  # the client sees the pipe end and starts another


if __name__ == "__mp_main__":
    _die_with_parent()

if __name__ == "__main__":
    sys.exit(main())
