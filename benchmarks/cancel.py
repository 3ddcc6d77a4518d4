"""How long after a cancel the engine's row is free, at several intervals of the heartbeat; what they cost the server.

A turn is cancelled as the gateway cancels it: an update of its conversation. The workflow cancels the activity, the
answer to the activity's next heartbeat says so, the worker leaves the stream, and the engine frees the row between two
steps. The row is free when the engine says so; it is asked every few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from activities.heartbeats import INTERVAL
from benchmarks.cpu import CpuSeconds
from benchmarks.figures import percentile, spread
from benchmarks.generating import Generating, Running, stand, until_freed
from dialogue.faults import ParleyFault

__all__ = ["run", "table"]

INTERVALS = (0.1, INTERVAL, 0.5)
IN_FLIGHT = (1, 8)


@dataclass(frozen=True, slots=True)
class Size:
    """``cancels`` in each round of each case; ``window``: seconds over which heartbeats and the server are watched."""

    rounds: int
    cancels: int
    window: float
    intervals: Sequence[float] = INTERVALS
    in_flight: Sequence[int] = IN_FLIGHT


FULL = Size(rounds=2, cancels=12, window=6.0)
QUICK = Size(rounds=1, cancels=2, window=1.0, intervals=(INTERVAL,), in_flight=(1, 2))


@dataclass(slots=True)
class Case:
    """One interval with so many answers in flight. ``milliseconds`` of each cancel; ``missed``: turns that ended by
    themselves first. By round: heartbeats a second and CPU milliseconds a second of the server, of each answer."""

    interval: float
    in_flight: int
    milliseconds: list[float] = field(default_factory=list[float])
    missed: int = 0
    heartbeats: list[float] = field(default_factory=list[float])
    server: list[float] = field(default_factory=list[float])


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row a case. The intervals take turns, so that a busy minute of the machine is none's alone."""
    size = QUICK if quick else FULL
    cases = [Case(interval, number) for interval in size.intervals for number in size.in_flight]
    with tempfile.TemporaryDirectory() as folder:
        async with stand(Path(folder)) as stood:
            for _ in range(size.rounds):
                for interval in size.intervals:
                    async with stood.generating(interval) as generating:
                        await _round(generating, [case for case in cases if case.interval == interval], size)
    return {"chosen_seconds": INTERVAL, "rounds": size.rounds, "rows": [_row(case) for case in cases]}


async def _round(generating: Generating, cases: Sequence[Case], size: Size) -> None:
    await _stop(generating, [await generating.begin()])  # warm: the workflow, the prompt, the first heartbeat
    idle = await _server_share(size.window)
    for case in cases:
        running = [await generating.begin() for _ in range(case.in_flight)]
        await _watch(generating, case, idle, size.window)
        done = 0
        while done < size.cancels:
            running = [each for each in running if not each.saying.done()]
            running += [await generating.begin() for _ in range(case.in_flight - len(running))]
            milliseconds = await _cancel(generating, running.pop(0))
            if milliseconds is None:
                case.missed += 1
            else:
                case.milliseconds.append(milliseconds)
                done += 1
        await _stop(generating, running)


async def _server_share(seconds: float) -> float:
    """CPU milliseconds a second of the server, watched for so long."""
    began, before = time.perf_counter(), CpuSeconds.now()
    await asyncio.sleep(seconds)
    return 1000 * (CpuSeconds.now().server - before.server) / (time.perf_counter() - began)


async def _watch(generating: Generating, case: Case, idle: float, seconds: float) -> None:
    """While all of them generate and nobody says or cancels anything: all that the server gets is heartbeats."""
    engine = await generating.stand.engine()
    busy, before, began = (await engine.capacity()).rows_busy, await generating.heartbeats(), time.perf_counter()
    share = await _server_share(seconds)
    sent, watched = await generating.heartbeats() - before, time.perf_counter() - began
    if busy == (await engine.capacity()).rows_busy == case.in_flight:  # else one ended on the way: no clean figure
        case.heartbeats.append(sent / watched / case.in_flight)
        case.server.append((share - idle) / case.in_flight)


async def _cancel(generating: Generating, running: Running) -> float | None:
    """Milliseconds from the cancel to the free row; ``None`` where the answer ended by itself first.

    Raises TimeoutError when no row comes free.
    """
    cancelling = generating.cancel(running)
    try:
        return await until_freed(generating.stand, running.conversation, cancelling, lambda: running.ended_by_itself)
    finally:
        await running.saying


async def _ended(cancelling: asyncio.Task[None], running: Running) -> None:
    """Until the turn was replied to, whether it was cancelled or had ended."""
    with contextlib.suppress(ParleyFault):  # nothing runs any more that could be cancelled
        await cancelling
    await running.saying


async def _stop(generating: Generating, running: Sequence[Running]) -> None:
    await asyncio.gather(*(_ended(asyncio.create_task(generating.cancel(each)), each) for each in running))


def _row(case: Case) -> dict[str, Any]:
    return {
        "interval_ms": round(1000 * case.interval),
        "in_flight": case.in_flight,
        "cancels": len(case.milliseconds),
        "missed": case.missed,
        "p50_ms": round(percentile(case.milliseconds, 50), 1),
        "p95_ms": round(percentile(case.milliseconds, 95), 1),
        "greatest_ms": round(max(case.milliseconds), 1),
        "heartbeats_per_second": spread(case.heartbeats) if case.heartbeats else None,
        "server_cpu_ms_per_second": spread(case.server, 1) if case.server else None,
    }


def table(result: dict[str, Any]) -> Table:
    title = "From a cancel to the free row; heartbeats and the server's CPU of each answer under way"
    shown = Table("heartbeat", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("in flight", "cancels", "p50 ms", "p95 ms", "most ms", "heartbeats/s", "server CPU ms/s"):
        shown.add_column(column, justify="right")
    for row in result["rows"]:
        beats, server = row["heartbeats_per_second"], row["server_cpu_ms_per_second"]
        shown.add_row(
            f"every {row['interval_ms']} ms",
            str(row["in_flight"]),
            str(row["cancels"]),
            f"{row['p50_ms']:.0f}",
            f"{row['p95_ms']:.0f}",
            f"{row['greatest_ms']:.0f}",
            f"{beats['median']:.1f}" if beats else "",
            f"{server['median']:.1f}" if server else "",
        )
    return shown
