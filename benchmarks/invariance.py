"""What it costs that the same request gives the same tokens whoever shares the batch.

A row attends over a fixed width, where its own length would do; and where a machine's products differ with the number
of rows, a step computes all rows, where those in use would do. Each is taken away by itself: the decode step alone, on
one thread, the fixed way and the other in turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.engine import prepared
from benchmarks.figures import spread

if TYPE_CHECKING:
    from model_runtime.decoder import Decoder

__all__ = ["run", "table"]

WIDTH, ROWS = 256, 8
LENGTHS = (40, 120, 250)
"""Tokens that every row holds; the width as needed is the next multiple of 16."""
STEPS, QUICK_STEPS = 41, 3


async def run(*, quick: bool = False) -> dict[str, Any]:
    """Times are milliseconds of a step; ``ratio`` is the fixed way's to the other's."""
    return await asyncio.to_thread(_run, QUICK_STEPS if quick else STEPS)


def _run(steps: int) -> dict[str, Any]:
    import torch

    from model_runtime.loading import load

    torch.set_num_threads(1)
    decoder = load(prepared(), torch.device("cpu")).decoder
    cases: list[dict[str, Any]] = []
    for length in LENGTHS:
        needed = -(-length // 16) * 16
        cases.append(_case(decoder, steps, f"width {WIDTH}, {length} held", (ROWS, WIDTH), (ROWS, needed), length))
    cases += [
        _case(decoder, steps, f"{ROWS} rows computed, {rows} in use", (ROWS, WIDTH), (rows, WIDTH), LENGTHS[0])
        for rows in (1, 4)
    ]
    return {"model": prepared().name, "rows": ROWS, "steps": steps, "cases": cases}


def _case(
    decoder: Decoder, steps: int, what: str, fixed: tuple[int, int], needed: tuple[int, int], length: int
) -> dict[str, Any]:
    ways = {"fixed": _step(decoder, *fixed, length), "needed": _step(decoder, *needed, length)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(steps + 2):
        for way, step in ways.items():
            began = time.perf_counter()
            step()
            if number >= 2:  # the first ones choose their kernels
                times[way].append(1000 * (time.perf_counter() - began))
    ratios = [one / other for one, other in zip(times["fixed"], times["needed"], strict=True)]
    return {
        "what": what,
        "fixed_ms": spread(times["fixed"]),
        "needed_ms": spread(times["needed"]),
        "ratio": spread(ratios),
    }


def _step(decoder: Decoder, rows: int, width: int, length: int) -> Any:
    """One decode step of ``rows`` rows of ``width``, each of which holds ``length`` tokens already."""
    import torch

    from model_runtime.cache import Cache

    cache = Cache(decoder.shape, rows=rows, widths=(width,), dtype=torch.bfloat16, device=torch.device("cpu"))
    pools = [cache.hold(row, min(length, width)) for row in range(rows)]
    return lambda: decoder.decode([5] * rows, [min(length, width - 1)] * rows, pools)


def table(result: dict[str, Any]) -> Table:
    title = f"{result['model']}, one decode step of {result['rows']} rows, median of {result['steps']}"
    shown = Table("fixed", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("ms", "as needed, ms", "ratio", "least", "greatest"):
        shown.add_column(column, justify="right")
    for case in result["cases"]:
        shown.add_row(
            case["what"],
            f"{case['fixed_ms']['median']:.1f}",
            f"{case['needed_ms']['median']:.1f}",
            *(f"{case['ratio'][key]:.2f}" for key in ("median", "least", "greatest")),
        )
    return shown
