"""What a turn asks of the Temporal server: calls that reach it, and what it writes to and reads from its database.

Counted by the server itself (its metrics), so it holds for any database behind it: the dev server's is SQLite, a
cluster's PostgreSQL or Cassandra, and both are called through the same interface.
"""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.shapes import Shape

__all__ = ["count", "table"]

CONVERSATIONS, TURNS = 5, 20
FLUSH_SECONDS = 1.5  # the server publishes its counters once a second
_COUNTER = re.compile(r'^(persistence_requests|service_requests|task_requests)\{.*operation="([^"]+)".*\} (\S+)$')
# Of the server itself, whether anybody speaks or not.
_BACKGROUND = frozenset(
    {"GetCurrentClusterMetadata", "GetClusterMetadata", "ListClusterMetadata", "ListNamespaces", "GetNamespace"}
)
_WRITES = re.compile(r"^(Create|Update|Append|Conflict|Complete|Delete|RangeComplete|Record|Upsert)")


@dataclass(frozen=True, slots=True)
class _Work:
    writes: float
    reads: float
    calls: float
    tasks: float

    @classmethod
    def of(cls, counted: Mapping[tuple[str, str], float], turns: int) -> _Work:
        def total(kind: str, *, writes: bool | None = None) -> float:
            return round(sum(
                number
                for (counter, operation), number in counted.items()
                if counter == kind and operation not in _BACKGROUND
                and (writes is None or bool(_WRITES.match(operation)) is writes)
            ) / turns, 1)  # fmt: skip

        persistence = "persistence_requests"
        return cls(
            total(persistence, writes=True), total(persistence, writes=False),
            total("service_requests"), total("task_requests"),
        )  # fmt: skip


async def count(metrics: str, shapes: Mapping[str, Shape], *, quick: bool) -> list[dict[str, Any]]:
    """Per turn, later turns only, for the floor and for Parley's two pools. ``metrics`` is the server's address."""
    return [await _count(metrics, shapes[name], 3 if quick else TURNS) for name in ("floor", "pools")]


async def _count(metrics: str, shape: Shape, turns: int) -> dict[str, Any]:
    names = [f"counted-{shape.name}-{number}" for number in range(CONVERSATIONS)]
    await asyncio.gather(*(shape.speak(name, 1) for name in names))
    before = await _settled(metrics)
    for number in range(2, turns + 2):
        await asyncio.gather(*(shape.speak(name, number) for name in names))
    after = await _settled(metrics)
    await asyncio.gather(*(shape.close(name) for name in names))
    said = turns * CONVERSATIONS
    counted = {key: after[key] - before[key] for key in after if after[key] > before[key]}
    work = _Work.of(counted, said)
    return {
        "shape": shape.name,
        "turns": said,
        "database_writes": work.writes,
        "database_reads": work.reads,
        "calls": work.calls,
        "tasks": work.tasks,
        "by_operation": {f"{kind}.{name}": round(number / said, 2) for (kind, name), number in sorted(counted.items())},
    }


async def _settled(metrics: str) -> Counter[tuple[str, str]]:
    """The counters once what was done has been published."""
    await asyncio.sleep(FLUSH_SECONDS)
    return await asyncio.to_thread(_read, metrics)


def _read(metrics: str) -> Counter[tuple[str, str]]:
    with urllib.request.urlopen(metrics, timeout=10) as answer:  # noqa: S310 (our own server)
        lines = answer.read().decode().splitlines()
    counters: Counter[tuple[str, str]] = Counter()
    for found in filter(None, map(_COUNTER.match, lines)):
        if found[1] == "service_requests" and 'service_name="frontend"' not in found[0]:
            continue  # what the server's own parts ask of one another
        counters[found[1], found[2]] += float(found[3])  # pyright: ignore[reportArgumentType] (counts are floats here)
    return counters


def table(counted: list[dict[str, Any]]) -> Table:
    title = "What a turn asks of the server, as it counts itself"
    shown = Table("a turn is", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("calls", "database writes", "database reads", "queue tasks"):
        shown.add_column(column, justify="right")
    for row in counted:
        shown.add_row(
            {"floor": "one activity (floor)", "pools": "six steps, two pools"}[row["shape"]],
            *(f"{row[key]:.1f}" for key in ("calls", "database_writes", "database_reads", "tasks")),
        )
    return shown
