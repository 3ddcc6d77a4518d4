"""The tier *statistical*: the steps from the generation on, run N times with other seeds: how often does the recorded
verdict come up?"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable

from pydantic import Field

from dialogue.base import Value
from dialogue.faults import ParleyFault
from replay.changes import Changes
from replay.exact import State
from replay.rerun import Reruns
from replay.turns import Turn

__all__ = ["SEEDS_APART", "Statistical", "sampled", "wilson"]

SEEDS_APART = 1_000_003
"""More than the ladder and its candidates draw from one seed."""


class Statistical(Value):
    """``verdicts``: how often each came up. ``low`` and ``high`` bound the share of the recorded one (Wilson, 95%).
    ``failed`` reruns, ``why`` the first of them, say nothing of the turn and are no samples."""

    turn: int
    state: State
    recorded: str
    samples: int = 0
    hits: int = 0
    verdicts: dict[str, int] = Field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0
    failed: int = 0
    why: str = ""


async def sampled(
    bench: Reruns, turn: Turn, samples: int, *, at_once: int = 4, told: Callable[[], None] | None = None
) -> Statistical:
    """``same`` where the recorded verdict came up at all; ``unchecked`` where this site cannot run the turn again."""
    if turn.plan is None or turn.asked is None:
        why = "no model was asked in this turn: it comes out the same every time"
        return Statistical(turn=turn.turn, state="unchecked", recorded=turn.verdict, why=why)
    if turn.plan.generation.temperature == 0:
        why = "it was sampled at temperature 0: every sample is the same one"
        return Statistical(turn=turn.turn, state="unchecked", recorded=turn.verdict, why=why)
    if turn.verdict == "cancelled":
        why = f"it was cancelled ({turn.note}), and no sample is: none can have its verdict"
        return Statistical(turn=turn.turn, state="unchecked", recorded=turn.verdict, why=why)
    seed, turns_at_once = turn.plan.generation.seed, asyncio.Semaphore(at_once)

    failures: list[str] = []

    async def one(number: int) -> str | None:
        async with turns_at_once:
            again = await bench.run(turn, Changes().with_seed(seed + number * SEEDS_APART))
        if told is not None:
            told()
        if failure := again.broke_down(turn):
            failures.append(failure)
            return None
        return again.turn.verdict

    try:
        made = await asyncio.gather(*(one(number) for number in range(1, samples + 1)))
    except ParleyFault as fault:
        return Statistical(turn=turn.turn, state="unchecked", recorded=turn.verdict, why=fault.message)
    verdicts = Counter(verdict for verdict in made if verdict is not None)
    hits, samples = verdicts[turn.verdict], samples - len(failures)
    low, high = wilson(hits, samples)
    return Statistical(
        turn=turn.turn,
        state="same" if hits else "differs" if samples else "unchecked",
        recorded=turn.verdict,
        samples=samples,
        hits=hits,
        verdicts=dict(verdicts.most_common()),
        low=low,
        high=high,
        failed=len(failures),
        why=failures[0] if failures else "",
    )


def wilson(hits: int, samples: int, z: float = 1.96) -> tuple[float, float]:
    """The interval of Wilson for a share, which is right for few samples and for shares near 0 and 1."""
    if not samples:
        return 0.0, 1.0
    share, squared = hits / samples, z * z
    middle = (share + squared / (2 * samples)) / (1 + squared / samples)
    half = z / (1 + squared / samples) * math.sqrt(share * (1 - share) / samples + squared / (4 * samples * samples))
    return max(0.0, middle - half), min(1.0, middle + half)
