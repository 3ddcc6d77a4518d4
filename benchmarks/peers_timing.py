"""Asking a candidate and timing what it says: a number in flight (closed), or at moments of their own (open)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from benchmarks.figures import percentile
from benchmarks.peers_work import Work

__all__ = ["Answered", "Ask", "closed", "figures", "opened"]

Ask = Callable[[Work, Callable[[], None]], Awaitable[int]]
"""Answers one work and says how many tokens it made; calls the second as tokens come, once for what comes together."""
_STAGGER_SECONDS = 0.5


@dataclass(slots=True)
class Answered:
    """Seconds of one clock. ``heard``: when tokens came. ``ended``: when the answer was whole."""

    work: Work
    asked: float
    heard: list[float] = field(default_factory=list)
    made: int = 0
    ended: float = 0.0

    async def by(self, ask: Ask) -> Answered:
        self.made = await ask(self.work, lambda: self.heard.append(time.perf_counter()))
        self.ended = time.perf_counter()
        return self


async def closed(ask: Ask, works: Sequence[Work], flight: int) -> tuple[list[Answered], float]:
    """``flight`` works at a time until all are answered; also seconds from the first one asked to the last one's end.

    The first ones come one after another within about half a second, later ones as others end.
    """
    draw = random.Random(f"stagger {flight}")
    left, answered = iter(works), list[Answered]()

    async def caller(after: float) -> None:
        # an arrival is a moment: there is nothing else to wait for
        await asyncio.sleep(after)
        for work in left:
            answered.append(await Answered(work, time.perf_counter()).by(ask))

    afters = [0.0, *(draw.uniform(0, _STAGGER_SECONDS) for _ in range(flight - 1))]
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for after in afters:
            group.create_task(caller(after))
    return answered, time.perf_counter() - began


async def opened(ask: Ask, works: Sequence[Work], moments: Sequence[float]) -> tuple[list[Answered], float]:
    """Each work at its moment, whatever became of those before; also when that began. Waits until all are answered."""
    answered = list[Answered]()

    async def arrive(work: Work, moment: float) -> None:
        await asyncio.sleep(began + moment - time.perf_counter())
        # the moment it was meant for: that we were late to ask is part of its wait
        answered.append(await Answered(work, began + moment).by(ask))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for work, moment in zip(works, moments, strict=True):
            group.create_task(arrive(work, moment))
    return answered, began


def figures(answered: Sequence[Answered], seconds: float) -> dict[str, Any]:
    """Tokens a second of all; of each answer the wait for its first token, and of all answers together the waits from
    what came to what came next, in milliseconds. ``made_of_asked``: less than 1 where answers ended by themselves."""
    made = sum(one.made for one in answered)
    first = [1000 * (one.heard[0] - one.asked) for one in answered if one.heard]
    between = [1000 * (after - before) for one in answered for before, after in pairwise(one.heard)]
    return {
        "tokens_per_second": round(made / seconds, 1),
        "seconds": round(seconds, 2),
        "tokens": made,
        "made_of_asked": round(made / sum(one.work.tokens for one in answered), 3),
        "first_token_ms": _percentiles(first),
        "between_tokens_ms": _percentiles(between),
    }


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float] | None:
    """``None`` where nothing came."""
    if not milliseconds:
        return None
    return {f"p{share}": round(percentile(milliseconds, share), 1) for share in (50, 95)}
