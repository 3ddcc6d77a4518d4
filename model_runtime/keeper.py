"""Keeps one engine: started once, started again when it was lost, waited for by whoever needs it."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from dialogue.faults import EngineHung, EngineLost, ModelFault
from model_runtime.protocol import Engine

__all__ = ["EngineKeeper"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("model_runtime")


class EngineKeeper:
    """:meth:`ready` gives the running engine. Report a loss with :meth:`lost`: it is started again at once, in the
    background. Where that fails, whoever waits for it is told why, and the next one who needs it has it started once
    more. So a model that was mended is used by the next turn, one that was not fails each turn with its own fault,
    and how often a turn is attempted is for Temporal alone.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._up = False
        self._starting: asyncio.Task[None] | None = None
        self.restarts = 0

    async def start(self) -> None:
        """Raises what the engine's own start raises: a worker that cannot hold its model takes no task."""
        await self._engine.start()
        self._up = True

    @property
    def engine(self) -> Engine | None:
        """The engine, while nobody knows of a loss."""
        return self._engine if self._up else None

    async def ready(self) -> Engine:
        """Waits while it starts. Raises the ModelFault for which it does not."""
        if not self._up:
            # shielded: one who leaves takes the start from nobody else
            await asyncio.shield(self._start_again())
        return self._engine

    def lost(self, fault: EngineLost | EngineHung) -> None:
        """Starts it again, once however many sequences report the same loss; not where one stream ``alone`` was lost
        and others may be well: a start would end them."""
        if fault.details.get("alone"):
            log.warning("answer lost", fault=fault.type, reason=fault.message)
        elif self._up:
            log.warning("engine lost", fault=fault.type, reason=fault.message)
            self._up = False
            self._start_again()

    def _start_again(self) -> asyncio.Task[None]:
        """The start that is under way, or a new one."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._restart())
            self._starting.add_done_callback(_tell)
        return self._starting

    async def _restart(self) -> None:
        await self._engine.close()
        await self._engine.start()
        self.restarts += 1
        self._up = True

    async def close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, ModelFault):
                await self._starting
        await self._engine.close()


def _tell(start: asyncio.Task[None]) -> None:
    """Whether or not anybody waits for it."""
    if not start.cancelled() and (error := start.exception()) is not None:
        kind, reason = (error.type, error.message) if isinstance(error, ModelFault) else (type(error).__name__, "")
        log.error("engine does not start", fault=kind, reason=reason)
