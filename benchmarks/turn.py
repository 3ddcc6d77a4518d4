"""What a turn costs beside the work of its steps: six steps that do nothing, against one activity.

All shapes are conversations spoken to by update-with-start, on one real server with a file database, one after the
other in every run. Workers and clients share this process.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from temporalio.client import Client

from benchmarks import server_work, where
from benchmarks.cpu import CpuSeconds
from benchmarks.figures import percentile, spread
from benchmarks.shapes import Shape, file_server, serving
from settings.ports import free_port

__all__ = ["Load", "Measured", "measure", "run", "table"]


@dataclass(frozen=True, slots=True)
class Load:
    """So many conversations at once, each of so many turns, one after another."""

    conversations: int
    turns: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one shape. ``milliseconds``: every turn but the first of each conversation, which also opens it.
    ``cpu``: milliseconds a turn of the server's process, and of this one."""

    milliseconds: Sequence[float]
    turns_per_second: float
    events: float
    bytes: float
    cpu: tuple[float, float]

    def p(self, share: int) -> float:
        return percentile(self.milliseconds, share)


LOADS = (Load(1, 40), Load(50, 6))
QUICK_LOADS = (Load(1, 3), Load(3, 3))
NAMES = {
    "floor": "one activity (floor)",
    "bare": "six activities, bare",
    "turn": "six steps, one worker",
    "pools": "six steps, two pools",
}


async def run(*, quick: bool = False) -> dict[str, Any]:
    """Rows of figures, one a shape and load; ``to_floor`` are medians of each run's own ratio."""
    loads, runs = (QUICK_LOADS, 1) if quick else (LOADS, 5)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        server = await file_server(Path(folder) / "temporal.db", metrics_port=port)
        async with server as environment, serving(environment.client) as shapes:
            rows = await _rows(environment.client, shapes, loads, runs)
            explained = await where.explain(environment.client, shapes, turns=3 if quick else 60)
            work = await server_work.count(f"http://127.0.0.1:{port}/metrics", shapes, quick=quick)
    database = "file, journal_mode=WAL, synchronous=1"
    return {"runs": runs, "database": database, "rows": rows, "where": explained, "server_work": work}


async def _rows(client: Client, shapes: Mapping[str, Shape], loads: Sequence[Load], runs: int) -> list[dict[str, Any]]:
    for shape in shapes.values():
        await measure(client, shape, Load(2, 2))  # warm: caches, connections, imports
    rows: list[dict[str, Any]] = []
    for load in loads:
        measured: dict[str, list[Measured]] = {name: [] for name in shapes}
        for _ in range(runs):
            for name, shape in shapes.items():
                measured[name].append(await measure(client, shape, load))
        rows += [_row(name, load, each, measured["floor"]) for name, each in measured.items()]
    return rows


async def measure(client: Client, shape: Shape, load: Load) -> Measured:
    """One run of one shape: a first turn of each conversation, and then the load."""
    names = [f"benchmark-{uuid.uuid4().hex}" for _ in range(load.conversations)]
    times: list[float] = []

    async def converse(name: str) -> None:
        for number in range(2, load.turns + 1):
            began = time.perf_counter()
            await shape.speak(name, number)
            times.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(shape.speak(name, 1) for name in names))
    before = await _size(client, names)
    began, cpu = time.perf_counter(), CpuSeconds.now()
    await asyncio.gather(*map(converse, names))
    seconds, spent = time.perf_counter() - began, CpuSeconds.now()
    after = await _size(client, names)
    await asyncio.gather(*map(shape.close, names))
    turns = len(times)
    return Measured(
        times,
        turns / seconds,
        (after[0] - before[0]) / turns,
        (after[1] - before[1]) / turns,
        (1000 * (spent.server - cpu.server) / turns, 1000 * (spent.here - cpu.here) / turns),
    )


async def _size(client: Client, names: Sequence[str]) -> tuple[int, int]:
    """Events of all these histories, and bytes, as the server counts them."""
    described = await asyncio.gather(*(client.get_workflow_handle(name).describe() for name in names))
    infos = [one.raw_description.workflow_execution_info for one in described]
    return sum(info.history_length for info in infos), sum(info.history_size_bytes for info in infos)


def _row(shape: str, load: Load, runs: Sequence[Measured], floors: Sequence[Measured]) -> dict[str, Any]:
    beside = list(zip(runs, floors, strict=True))
    return {
        "shape": shape,
        "conversations": load.conversations,
        "turns_each": load.turns - 1,
        "p50_ms": spread([one.p(50) for one in runs], 1),
        "p95_ms": spread([one.p(95) for one in runs], 1),
        "turns_per_second": spread([one.turns_per_second for one in runs], 1),
        "events_per_turn": spread([one.events for one in runs], 1),
        "bytes_per_turn": spread([one.bytes for one in runs], 0),
        "cpu_ms_per_turn": {
            "server": spread([one.cpu[0] for one in runs], 1),
            "python": spread([one.cpu[1] for one in runs], 1),
        },
        "to_floor": {
            "p50": spread([one.p(50) / floor.p(50) for one, floor in beside]),
            "turns_per_second": spread([one.turns_per_second / floor.turns_per_second for one, floor in beside]),
            "cpu": spread([sum(one.cpu) / sum(floor.cpu) for one, floor in beside]),
        },
    }


def table(result: dict[str, Any]) -> Group:
    title = f"A turn without its steps' work, median of {result['runs']}; × is against the floor"
    shown = Table("at once", "a turn is", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("p50 ms", "×", "p95 ms", "turns/s", "×", "CPU ms", "×", "events", "bytes"):
        shown.add_column(column, justify="right")
    for row in result["rows"]:
        figure = {key: value["median"] for key, value in row.items() if isinstance(value, dict) and "median" in value}
        cpu = row["cpu_ms_per_turn"]
        shown.add_row(
            str(row["conversations"]),
            NAMES[row["shape"]],
            f"{figure['p50_ms']:.0f}",
            f"{row['to_floor']['p50']['median']:.2f}",
            f"{figure['p95_ms']:.0f}",
            f"{figure['turns_per_second']:.0f}",
            f"{row['to_floor']['turns_per_second']['median']:.2f}",
            f"{cpu['server']['median']:.0f}+{cpu['python']['median']:.0f}",
            f"{row['to_floor']['cpu']['median']:.2f}",
            f"{figure['events_per_turn']:.0f}",
            f"{figure['bytes_per_turn']:,.0f}",
        )
    return Group(shown, where.table(result["where"]), server_work.table(result["server_work"]))
