"""Batched against one at a time under an open load: requests come at moments of their own, whoever still waits.

The moments are a Poisson process, with so many a second as a naive server (``generate``, a queue before it) could
serve one after another, times a factor: above 1 its queue grows as long as the load lasts. Both get the same works at
the same moments, one after the other in one run, on the same weights and cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.engine import ROWS, prepared
from benchmarks.figures import percentile
from benchmarks.peers_generate import generate_process
from benchmarks.peers_ours import our_engine
from benchmarks.peers_timing import Answered, closed, opened
from benchmarks.peers_work import LONGEST_ANSWER, Work, mixed, poisson_arrivals, shape

__all__ = ["compared", "figures", "run", "table"]

FACTORS = (1.5, 2.0)
MIX = 12
"""Lengths repeat after so many works: what the load brings is what the capacity was measured with."""


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row for each factor and server; ``capacity`` is of the naive one, in queries a second."""
    factors, seconds, mix, longest = (FACTORS[:1], 3, 3, 8) if quick else (FACTORS, 45, MIX, LONGEST_ANSWER)
    folder, rows = prepared(), list[dict[str, Any]]()
    async with generate_process(folder, 1) as ask:
        await closed(ask, mixed(folder, 1, 0, longest=8), 1)
        measured = mixed(folder, mix, 1, longest=longest)
        _, spent = await closed(ask, measured, 1)
        capacity = mix / spent
        loads = {factor: _load(factor * capacity, seconds, mix, longest) for factor in factors}
        for factor, load in loads.items():
            rows.append({"load": factor, "server": "naive"} | figures(*await opened(ask, *load), seconds))
    async with our_engine(folder, ROWS) as ask:
        for factor, load in loads.items():
            rows.append({"load": factor, "server": "ours"} | figures(*await opened(ask, *load), seconds))
    return {
        "model": folder.name,
        "engine_rows": ROWS,
        "seconds": seconds,
        "capacity": round(capacity, 3),
        "works": shape(measured),
        "rows": rows,
        "compared": compared(rows),
    }


def _load(rate: float, seconds: float, mix: int, longest: int) -> tuple[list[Work], list[float]]:
    """The first comes at once, so that there is one however short the time is."""
    moments = [0.0, *poisson_arrivals(rate, seconds, seed=1)]
    return mixed(prepared(), len(moments), 1, longest=longest, lengths_of=mix), moments


def figures(answered: Sequence[Answered], began: float, seconds: float) -> dict[str, Any]:
    """Queries answered while the load lasted, a second; latency in seconds of every one that came in that time, those
    answered after it too, for else the longest waits would not count."""
    latencies = [one.ended - one.asked for one in answered]
    return {
        "came": len(answered),
        "answered_in_time": (in_time := sum(one.ended <= began + seconds for one in answered)),
        "queries_per_second": round(in_time / seconds, 3),
        "latency_seconds": {
            "mean": round(sum(latencies) / len(latencies), 2),
            "p95": round(percentile(latencies, 95), 2),
        },
        "made_of_asked": round(sum(one.made for one in answered) / sum(one.work.tokens for one in answered), 3),
    }


def compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours over naive, by load. ``queries``: None where the naive one answered nothing in time."""
    by = {(row["load"], row["server"]): row for row in rows}
    return [
        {
            "load": load,
            "queries": round(ours["queries_per_second"] / rate, 2) if (rate := naive["queries_per_second"]) else None,
            "mean_latency": round(ours["latency_seconds"]["mean"] / naive["latency_seconds"]["mean"], 2),
        }
        for load in dict.fromkeys(row["load"] for row in rows)
        for naive, ours in [(by[load, "naive"], by[load, "ours"])]
    ]


def table(result: dict[str, Any]) -> Table:
    title = (
        f"{result['model']}, {result['seconds']} s of an open load; one at a time serves "
        f"{result['capacity']:.2f} queries/s; ours has {result['engine_rows']} rows"
    )
    shown = Table("load", "server", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("came", "queries/s", "×", "mean s", "×", "p95 s"):
        shown.add_column(column, justify="right")
    ratios = {one["load"]: one for one in result["compared"]}
    for row in result["rows"]:
        ratio, latency = ratios[row["load"]], row["latency_seconds"]
        queries, mean = (ratio["queries"], ratio["mean_latency"]) if row["server"] == "ours" else (1.0, 1.0)
        shown.add_row(
            f"{row['load']:.1f}",
            row["server"],
            str(row["came"]),
            f"{row['queries_per_second']:.2f}",
            "" if queries is None else f"{queries:.2f}",
            f"{latency['mean']:.2f}",
            f"{mean:.2f}",
            f"{latency['p95']:.2f}",
        )
    return shown
