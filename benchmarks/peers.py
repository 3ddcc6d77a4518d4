"""Our engine against other ways to serve the same model on the same cores: tokens a second, and how they come.

One candidate runs at a time, all of them in one run, on the same works. Naive ones are ``generate`` of transformers;
servers of others are asked where an environment variable says where they are, and are named where it does not.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table

from benchmarks import peers_turns
from benchmarks.engine import prepared
from benchmarks.peers_generate import generate_process
from benchmarks.peers_ours import our_engine
from benchmarks.peers_servers import LLAMA, VLLM, llama_server, vllm_server
from benchmarks.peers_timing import Ask, closed, figures
from benchmarks.peers_work import LONGEST_ANSWER, Work, mixed, shape

__all__ = ["AIMS", "aims", "run", "table"]

METHODS: tuple[Literal["bf16", "int8", "int4"], ...] = ("bf16", "int8", "int4")
FLIGHTS, REQUESTS = (1, 8, 32), {1: 6, 8: 24, 32: 64}
QUICK_FLIGHTS, QUICK_REQUESTS, QUICK_ANSWER = (1, 2), {1: 1, 2: 2}, 8
NAIVE, OURS, SERVERS = "generate, one at a time", "ours, ", ("llama.cpp Q4_1", "vLLM bf16")
TURN_AIM = 0.9
Opened = AbstractAsyncContextManager[Ask]


@dataclass(frozen=True, slots=True)
class Candidate:
    """``flights``: numbers in flight that it is asked with. ``open`` gives it for such a number; ``one_start``: once,
    for the greatest, because it takes long to start. ``absent``: the variable that says where it is, where unset."""

    name: str
    flights: Sequence[int]
    open: Callable[[int], Opened]
    one_start: bool = False
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Aim:
    """The best of ours with ``flight`` in flight, over the best of ``against``."""

    flight: int
    against: tuple[str, ...]
    aim: float


AIMS = (
    Aim(32, SERVERS, 2.0),
    Aim(8, SERVERS, 1.5),
    Aim(1, SERVERS[:1], 0.8),
    Aim(32, (NAIVE,), 15.0),
)


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row for each candidate and number in flight; what was left out; ratios beside their aims; whole turns."""
    flights, requests = (QUICK_FLIGHTS, QUICK_REQUESTS) if quick else (FLIGHTS, REQUESTS)
    longest = QUICK_ANSWER if quick else LONGEST_ANSWER
    works = {flight: mixed(prepared(), requests[flight], flight, longest=longest) for flight in flights}
    candidates, rows = list(_candidates(flights)), list[dict[str, Any]]()
    left_out = {one.name: f"{one.absent} is not set" for one in candidates if one.absent}
    for name, why in left_out.items():
        Console(stderr=True).print(f"peers: {name} is left out: {why}", soft_wrap=True)
    turns = await peers_turns.measure(quick=quick)
    for candidate in candidates:
        if not candidate.absent:
            try:
                rows += await _rows(candidate, works)
            except Exception as error:  # the others are measured all the same
                left_out[candidate.name] = f"it failed: {error!r}"
                traceback.print_exc()
    return {
        "model": prepared().name,
        "works": {str(flight): shape(asked) for flight, asked in works.items()},
        "rows": rows,
        "left_out": left_out,
        "aims": aims(rows),
        "turns": turns,
    }


def _candidates(flights: Sequence[int]) -> Iterator[Candidate]:
    yield Candidate(NAIVE, flights[:1], partial(generate_process, prepared()))
    for flight in flights[1:]:
        yield Candidate(f"generate, batches of {flight}", (flight,), partial(generate_process, prepared()))
    for method in METHODS:
        yield Candidate(f"{OURS}{method}", flights, partial(our_engine, prepared(method)))
    llama, vllm = SERVERS
    yield Candidate(llama, flights, llama_server, absent=_unset(LLAMA))
    yield Candidate(vllm, flights, partial(vllm_server, prepared()), one_start=True, absent=_unset(VLLM))


def _unset(variable: str) -> str:
    return "" if os.environ.get(variable) else variable


async def _rows(candidate: Candidate, works: Mapping[int, list[Work]]) -> list[dict[str, Any]]:
    """One a number in flight; before each the candidate answers so many short ones that do not count."""
    rows = list[dict[str, Any]]()
    for together in [candidate.flights] if candidate.one_start else [(flight,) for flight in candidate.flights]:
        began = time.perf_counter()
        async with candidate.open(max(together)) as ask:
            start = {"start_seconds": round(time.perf_counter() - began, 1)}
            for flight in together:
                await closed(ask, mixed(prepared(), flight, 1000 + flight, longest=8), flight)
                measured = figures(*await closed(ask, works[flight], flight))
                rows.append({"candidate": candidate.name, "in_flight": flight} | measured | start)
    return rows


def aims(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each aim whose both sides were measured, with what was reached. The naive one has no batch: its speed with one
    in flight holds for any number."""
    reached = list[dict[str, Any]]()
    for aim in AIMS:
        ours = [row for row in rows if row["candidate"].startswith(OURS) and row["in_flight"] == aim.flight]
        flight = 1 if aim.against == (NAIVE,) else aim.flight
        theirs = [row for row in rows if row["candidate"] in aim.against and row["in_flight"] == flight]
        if ours and theirs:
            best, against = (max(side, key=lambda row: row["tokens_per_second"]) for side in (ours, theirs))
            reached.append(
                {
                    "in_flight": aim.flight,
                    "ours": best["candidate"],
                    "against": against["candidate"],
                    "aim": aim.aim,
                    "ratio": round(best["tokens_per_second"] / against["tokens_per_second"], 2),
                }
            )
    return reached


def table(result: dict[str, Any]) -> Group:
    title = f"{result['model']} and the same weights in fewer bits, unequal prompts and answers, one run"
    left_out = "\n".join(f"{name} is left out: {why}" for name, why in result["left_out"].items()) or None
    shown = Table(title=title, caption=left_out, title_style="", title_justify="left", box=SIMPLE_HEAD)
    shown.add_column("candidate", no_wrap=True)
    for column in ("in flight", "tokens/s", "first token, ms: p50 / p95", "between tokens", "made of asked"):
        shown.add_column(column, justify="right")
    for row in result["rows"]:
        waits = [_percentiles(row[name]) for name in ("first_token_ms", "between_tokens_ms")]
        rate = f"{row['tokens_per_second']:.0f}"
        shown.add_row(row["candidate"], str(row["in_flight"]), rate, *waits, f"{row['made_of_asked']:.0%}")
    return Group(shown, _aims_table(result["aims"], result["turns"]))


def _percentiles(wait: Mapping[str, float] | None) -> str:
    return f"{wait['p50']:.0f} / {wait['p95']:.0f}" if wait else ""


def _aims_table(reached: Sequence[Mapping[str, Any]], turns: Mapping[str, Any]) -> Table:
    shown = Table("in flight", "ours", "against", box=SIMPLE_HEAD)
    for column in ("aim", "reached"):
        shown.add_column(column, justify="right")
    for one in reached:
        shown.add_row(str(one["in_flight"]), one["ours"], one["against"], f"{one['aim']:.1f}×", f"{one['ratio']:.2f}×")
    flight, whole = str(turns["conversations"]), f"whole turns, {turns['tokens_per_second']:.0f} tokens/s"
    alone = f"its engine alone, {turns['engine_tokens_per_second']:.0f} tokens/s"
    shown.add_row(flight, whole, alone, f"{TURN_AIM:.1f}×", f"{turns['to_engine']:.2f}×")
    all_cores = f"with all cores, {turns['engine_with_all_cores_tokens_per_second']:.0f} tokens/s"
    shown.add_row(flight, whole, all_cores, "", f"{turns['to_engine_with_all_cores']:.2f}×")
    return shown
