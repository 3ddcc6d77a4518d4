"""Serves one pool until it is told to stop: the body of ``parley worker POOL``.

The worker that takes a dead one's place is waited for, so a start is short: engines load in their own processes
while this one imports what its pool needs and nothing else (:mod:`workers.steps`), and what was worked out before is
kept below ``data/cache``.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dialogue.faults import SettingsFault
from settings.layout import Layout
from settings.logs import configure_logs
from settings.schema import Settings
from workers.timeline import Timeline

if TYPE_CHECKING:
    from workers.engines import Engines

__all__ = ["ready_file", "run_worker"]


def ready_file(layout: Layout, pool: str, pid: int) -> Path:
    """Written once the worker of that process takes tasks, removed when it ends."""
    return layout.run / f"worker-{pool}-{pid}.json"


async def run_worker(settings: Settings, pool: str, *, stop: asyncio.Event | None = None) -> None:
    """Until SIGINT, SIGTERM or ``stop``. Then takes no more tasks and lets those it has finish.

    Raises SettingsFault for an unknown pool, ConnectionError without a server, and what its parts raise.
    """
    timeline = Timeline()
    if pool not in settings.pools:
        raise SettingsFault(f"pools: there is no pool {pool!r}; there are {', '.join(settings.pools)}.")
    configure_logs(settings.log, pool=pool)
    stopping = stop or _stop_on_signals()
    async with AsyncExitStack() as stack:
        engines = _engines(settings, pool, stack, timeline)
        from records.tracing import exporting  # it brings the SDK, for which an engine's start does not wait

        stack.enter_context(exporting(settings.telemetry, pool, f"{socket.gethostname()}:{os.getpid()}"))
        with timeline.step("imports"):
            serving = await asyncio.to_thread(importlib.import_module, "workers.serving")
        async with serving.worker(settings, pool, engines, timeline):
            _keep_what_is_there()
            await stopping.wait()


def _engines(settings: Settings, pool: str, stack: AsyncExitStack, timeline: Timeline) -> Engines | None:
    if "generate_answer" not in settings.pools[pool].serves:
        return None
    from workers.engines import Engines

    return Engines(settings, stack, timeline)


def _keep_what_is_there() -> None:
    """What is there now stays for good: the collector need not look through it again and again, and hold every
    task up while it does. `parley worker` pauses the collector until here."""
    gc.freeze()
    gc.enable()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
