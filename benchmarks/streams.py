"""What the gateway adds to a stream: from the token log's append to the client, over every transport.

Five things, each beside what it is to be compared with: how late a token comes with 1, 32 and 200 streams; whether any
is lost, and what a stream weighs, with 1,000 idle ones beside them; what the gate adds to an open stream; the whole
time to the first token, and where it goes; and answers a second against a bare handler that calls the same workflow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from benchmarks.stream_flow import held, late, stand
from benchmarks.stream_gated import added
from benchmarks.stream_turns import PARTS, first_tokens, real_turns, throughput, turns
from benchmarks.stream_wire import TRANSPORTS

__all__ = ["run", "table"]

PER_SECOND = 20.0


@dataclass(frozen=True, slots=True)
class Size:
    """``tokens`` of each stream; ``turns`` of one conversation, and of each that begins with others; ``seconds`` of a
    load, ``runs`` of what takes turns."""

    runs: int
    streams: Sequence[int]
    tokens: int
    idle: int
    flowing: int
    transports: Sequence[str]
    articles: int
    gated_tokens: int
    speeds: Sequence[float]
    at_once: int
    turns: int
    in_flight: Sequence[int]
    seconds: float
    real: bool


FULL = Size(
    runs=3,
    streams=(1, 32, 200),
    tokens=60,
    idle=1000,
    flowing=200,
    transports=TRANSPORTS,
    articles=4,
    gated_tokens=200,
    speeds=(20.0, 60.0),
    at_once=32,
    turns=30,
    in_flight=(1, 32),
    seconds=5.0,
    real=True,
)
QUICK = Size(
    runs=1,
    streams=(1, 3),
    tokens=5,
    idle=5,
    flowing=2,
    transports=TRANSPORTS[:2],
    articles=1,
    gated_tokens=20,
    speeds=(60.0,),
    at_once=2,
    turns=2,
    in_flight=(1,),
    seconds=0.5,
    real=False,
)


async def run(*, quick: bool = False) -> dict[str, Any]:
    """Milliseconds and KiB; a row a case in each of the five."""
    size = QUICK if quick else FULL
    result: dict[str, Any] = {"runs": size.runs, "tokens_per_second": PER_SECOND}
    with tempfile.TemporaryDirectory() as folder:
        async with stand(Path(folder)) as stood:
            result["late"] = await late(stood, size.streams, size.tokens, PER_SECOND, size.runs)
            result["gated"] = [
                row for speed in size.speeds for row in await added(stood, size.articles, size.gated_tokens, speed)
            ]
    result["held"] = [await _held(transport, size) for transport in size.transports]
    with tempfile.TemporaryDirectory() as folder:
        async with turns(Path(folder)) as there:
            first = [await first_tokens(there, 1, size.turns), await first_tokens(there, size.at_once, size.runs)]
            result["throughput"] = await throughput(there, size.in_flight, size.seconds, size.runs)
    result["first_token"] = [{"steps": "nothing", **row} for row in first]
    if size.real:
        result["first_token"] += [{"steps": "real", **row} for row in await _real(size)]
    return result


async def _held(transport: str, size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return await held(Path(folder), transport, size.idle, size.flowing, size.tokens, PER_SECOND)


async def _real(size: Size) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        async with real_turns(Path(folder)) as there:
            return [await first_tokens(there, 1, size.turns // 3), await first_tokens(there, size.at_once, 1)]


# shown -------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> Group:
    return Group(_late(result), _held_table(result), _gated(result), _first(result), _throughput(result))


def _new(title: str, *columns: str) -> Table:
    shown = Table(columns[0], title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in columns[1:]:
        shown.add_column(column, justify="right")
    return shown


def _late(result: dict[str, Any]) -> Table:
    title = f"From append to client, {result['tokens_per_second']:.0f} tokens a second each, median of {result['runs']}"
    shown = _new(title, "transport", "streams", "p50 ms", "p95 ms", "lost", "gateway's cores", "writer behind ms")
    for row in result["late"]:
        median = {name: value["median"] for name, value in row.items() if isinstance(value, dict)}
        shown.add_row(
            row["transport"],
            str(row["streams"]),
            f"{median['p50_ms']:.1f}",
            f"{median['p95_ms']:.1f}",
            str(row["lost"]),
            f"{median['gateway_cpu']:.2f}",
            f"{median['writer_behind_ms']:.0f}",
        )
    return shown


def _held_table(result: dict[str, Any]) -> Table:
    columns = ("transport", "idle", "flowing", "tokens", "lost", "p50 ms", "p95 ms", "KiB idle", "KiB flowing", "MiB")
    shown = _new("Idle and flowing streams on one gateway", *columns)
    for row in result["held"]:
        figures = [row[name] for name in ("idle", "flowing", "tokens")]
        more = [row[name] for name in ("p50_ms", "p95_ms", "kib_an_idle_stream", "kib_a_flowing_stream")]
        lost = row["lost"] + row["ends_lost"]
        shown.add_row(row["transport"], *map(str, (*figures, lost, *more, row["mib"]["after"])))
    return shown


def _gated(result: dict[str, Any]) -> Table:
    shown = _new("Behind the gate: later than open", "", "tokens/s", "p50 ms", "p95 ms", "most ms", "at once")
    for row in result["gated"]:
        figures = (row[name] for name in ("p50_ms", "p95_ms", "most_ms"))
        speed = f"{row['tokens_per_second']:.0f}"
        shown.add_row(row["language"], speed, *(f"{each:.0f}" for each in figures), f"{row['at_once']:.0%}")
    return shown


def _first(result: dict[str, Any]) -> Table:
    columns = ("steps", "at once", "whole p50 ms", "without engine p50", "p95", *PARTS)
    shown = _new("To the first token, and its parts (p50)", *columns)
    for row in result["first_token"]:
        figures = (row["whole_p50_ms"], row["without_engine_p50_ms"], row["without_engine_p95_ms"])
        parts = row["parts_p50_ms"].values()
        shown.add_row(row["steps"], str(row["at_once"]), *(f"{each:.0f}" for each in (*figures, *parts)))
    return shown


def _throughput(result: dict[str, Any]) -> Table:
    shown = _new("Plain answers", "in flight", "gateway/s", "bare/s", "×", "gateway CPU ms", "bare CPU ms")
    for row in result["throughput"]:
        names = ("gateway_per_second", "bare_per_second", "to_bare", "gateway_cpu_ms", "bare_cpu_ms")
        figures = [row[name]["median"] for name in names]
        shown.add_row(str(row["in_flight"]), *(f"{each:.2f}" for each in figures))
    return shown
