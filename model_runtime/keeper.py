"""Keeps one engine alive: started once, started again when it is lost, waited for by whoever needs it."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from dialogue.faults import EngineHung, EngineLost, ModelFault
from model_runtime.protocol import Engine

__all__ = ["EngineKeeper"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("model_runtime")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0


class EngineKeeper:
    """:meth:`ready` gives the running engine. Report a loss with :meth:`lost`: the engine is started again in the
    background, with growing pauses while its start fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ready = asyncio.Event()
        self._restart: asyncio.Task[None] | None = None
        self.restarts = 0

    async def start(self) -> None:
        """Raises what the engine's own start raises: a worker that cannot hold its model takes no task."""
        await self._engine.start()
        self._ready.set()

    async def ready(self) -> Engine:
        await self._ready.wait()
        return self._engine

    def lost(self, fault: EngineLost | EngineHung) -> None:
        """Starts it again, once however many sequences report the same loss."""
        if self._restart is not None and not self._restart.done():
            return
        log.warning("engine lost", fault=fault.type, reason=fault.message)
        self._ready.clear()
        self._restart = asyncio.create_task(self._start_again())

    async def _start_again(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._engine.close()
                await self._engine.start()
            except ModelFault as fault:
                log.error("engine does not start", fault=fault.type, reason=fault.message, next_try_in=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self.restarts += 1
                self._ready.set()
                return

    async def close(self) -> None:
        if self._restart is not None:
            self._restart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._restart
        await self._engine.close()
