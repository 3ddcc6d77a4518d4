"""Whether a long conversation stays as quick as a young one: turn 200 against turn 2, on one real server.

A conversation of 201 turns, steps that do nothing. The run continues as new on the way, when the server suggests it;
what that costs is shown apart. Each figure is a median over a window of turns, because one turn's time is noise.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from temporalio.client import Client

from benchmarks.figures import percentile, spread
from benchmarks.shapes import Shape, file_server, serving

__all__ = ["run", "table"]

TURNS = 201
WINDOW = 20


async def run(*, quick: bool = False) -> dict[str, Any]:
    """``to_young``: the median of the last window over that of the first, by run."""
    turns, window, runs = (9, 4, 1) if quick else (TURNS, WINDOW, 3)
    with tempfile.TemporaryDirectory() as folder:
        server = await file_server(Path(folder) / "temporal.db")
        async with server as environment, serving(environment.client) as shapes:
            await _converse(environment.client, shapes["turn"], 3)  # warm
            told = [await _converse(environment.client, shapes["turn"], turns) for _ in range(runs)]
    young = [percentile(times[1 : 1 + window], 50) for times, _ in told]
    old = [percentile(times[-window:], 50) for times, _ in told]
    return {
        "runs": runs,
        "turns": turns,
        "window": window,
        "chained_runs": [chain for _, chain in told],
        "young_ms": spread(young, 1),
        "old_ms": spread(old, 1),
        "slowest_ms": spread([max(times[1:]) for times, _ in told], 1),
        "to_young": spread([last / first for last, first in zip(old, young, strict=True)]),
    }


async def _converse(client: Client, shape: Shape, turns: int) -> tuple[list[float], int]:
    """Milliseconds of each turn, and how many runs the conversation took."""
    name, times = f"benchmark-{uuid.uuid4().hex}", list[float]()
    for number in range(1, turns + 1):
        began = time.perf_counter()
        await shape.speak(name, number)
        times.append(1000 * (time.perf_counter() - began))
    await shape.close(name)
    return times, len([run async for run in client.list_workflows(f"WorkflowId = '{name}'")])


def table(result: dict[str, Any]) -> Table:
    last, window = result["turns"], result["window"]
    title = f"A conversation of {last} turns, median of {result['runs']}"
    shown = Table("turns", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("ms", "least", "greatest", "× turns 2 …"):
        shown.add_column(column, justify="right")
    ratio = f"{result['to_young']['median']:.2f}"
    for label, key, share in (
        (f"2 to {1 + window}", "young_ms", "1.00"),
        (f"{last - window + 1} to {last}", "old_ms", ratio),
        ("the slowest", "slowest_ms", ""),
    ):
        shown.add_row(label, *(f"{value:.0f}" for value in result[key].values()), share)
    return shown
