"""A task is taken when the engine has a row for it: what has to wait waits in Temporal, with its priorities.

A worker's slot supplier is asked before each poll, when the task is not known yet. So a slot stands for one row: a task
with several candidates needs more of them, and those wait in the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence

import structlog
from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
)

from dialogue.faults import ParleyFault
from model_runtime.keeper import EngineKeeper

__all__ = ["RowSlotSupplier", "row_tuner"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("workers")

LOOK_SECONDS = 0.5
"""How often an engine is asked again whose rows are all taken, or which took its limit back; a slot that comes free is
heard of at once."""


class RowSlotSupplier(CustomSlotSupplier):
    """Permits for at most ``most`` tasks, and only while the engines of ``keepers`` have rows for them.

    The SDK reserves on the worker's loop and releases from threads of its own.
    """

    def __init__(self, keepers: Sequence[EngineKeeper], most: int) -> None:
        self._keepers, self._most = tuple(keepers), most
        self._lock = threading.Lock()
        self._held: set[SlotPermit] = set()
        self._used: set[SlotPermit] = set()
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        self._loop = asyncio.get_running_loop()
        async with self._turn:  # first come, first served; and no two of them count the same row
            while True:
                self._freed.clear()
                if await self._room() > 0:
                    return self._permit()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._freed.wait()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """For eager tasks, which a pool without workflows never has: the engine cannot be asked without waiting."""
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        with self._lock:
            self._used.add(ctx.permit)

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        with self._lock:
            self._held.discard(ctx.permit)
            self._used.discard(ctx.permit)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._freed.set)

    def _permit(self) -> SlotPermit:
        permit = SlotPermit()
        with self._lock:
            self._held.add(permit)
        return permit

    async def _room(self) -> int:
        """Rows that neither a task nor a poll has. A task whose prompt is still being built has none yet in the
        engine, one with several candidates has several: the larger count holds."""
        capacities = [await _capacity(keeper) for keeper in self._keepers]
        with self._lock:
            held, used = len(self._held), len(self._used)
        known = [each for each in capacities if each is not None]
        if len(known) < len(capacities):
            # An engine that does not run is started, or its fault told, by the task that needs it.
            return self._most - held
        limit = min(self._most, sum(limit for limit, _ in known))
        busy = sum(busy for _, busy in known)
        return limit - max(used, busy) - (held - used)


async def _capacity(keeper: EngineKeeper) -> tuple[int, int] | None:
    """Rows that may be in use and rows asked for; ``None`` for an engine that does not run."""
    if keeper.engine is None:
        return None
    try:
        capacity = await keeper.engine.capacity()
    except ParleyFault:  # whoever uses it reports the loss
        return None
    return capacity.rows_limit, capacity.rows_busy + capacity.waiting


def row_tuner(keepers: Sequence[EngineKeeper], most: int) -> WorkerTuner:
    """For a worker that generates and does nothing else: of other tasks it has none."""
    others = FixedSizeSlotSupplier(2)
    return WorkerTuner.create_composite(
        workflow_supplier=others,
        activity_supplier=RowSlotSupplier(keepers, most),
        local_activity_supplier=others,
        nexus_supplier=others,
    )
