"""Of recorded turns, how many rerun token for token, in each number format; and why each other one does not.

Recorded are real conversations, as many at once as the engine has rows, on a real GPU worker with its engine process;
their other steps are a script. Then `replay verify --tokens` runs each turn again, alone, on engine processes that saw
none of them. Some are also run again on engines that cannot promise the same tokens, where a difference would show.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from activities.heartbeats import INTERVAL
from benchmarks.generating import ROWS, Stand, stand
from dialogue.messages import Say
from replay.evidence import evidence
from replay.histories import live
from replay.story import tell
from replay.token_runs import verify_tokens
from replay.tokens import TokenExact
from replay.turns import Turn
from settings.schema import Settings

__all__ = ["FORMATS", "UNPROMISED", "run", "table"]

FORMATS = ("fp32", "bf16", "int8")


@dataclass(frozen=True, slots=True)
class Other:
    """What is another in an engine: in its settings, and in the environment of its process."""

    model: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


UNPROMISED: Mapping[str, Other] = {
    "a thread for each core": Other({"threads": len(os.sched_getaffinity(0))}),  # by itself it takes half of them
    "one width": Other({"widths": (1024,)}),
    "kernels for AVX2": Other(environment={"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}),
}
SHARES = 2
"""Engine processes that run turns again beside each other: each takes half of the cores, and one turn at a time."""
SUBJECTS = (
    "a lighthouse keeper", "the night train", "a garden in winter", "two old friends", "the baker's shop",
    "a small harbour", "the mountain school", "a lost umbrella", "an empty theatre", "the last ferry",
)  # fmt: skip
# What has `chat` in it goes to the model without a passage, the others with one.
ASKED = (
    "Let us chat about {0}.", "How long do I have to send back a book about {0}?", "Tell me more of {0}, please.",
    "Let us chat: what would you change?", "Where do I ask for my money back?",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """``checked``: how many of the turns are also run on each engine that promises nothing."""

    conversations: int
    turns_each: int
    new_tokens: int
    checked: int


FULL, QUICK = Size(100, 2, 24, 10), Size(4, 2, 8, 2)


async def run(*, quick: bool = False) -> dict[str, Any]:
    """``formats``: of each number format the tries that were recorded, how they reran, and every miss with its reason;
    ``unpromised`` the same of the engines that promise nothing, and what was told of each beforehand."""
    size = QUICK if quick else FULL
    formats = [await _format(method, size) for method in FORMATS]
    return {"turns": size.conversations * size.turns_each, "new_tokens_at_most": size.new_tokens, "formats": formats}


async def _format(method: str, size: Size) -> dict[str, Any]:
    changes = {
        "model": {"quantization": method, "rows": ROWS},
        "generation": {"max_new_tokens": size.new_tokens, "max_tries": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        async with stand(Path(folder), changes) as stood:
            began = time.perf_counter()
            turns = await _recorded(stood, size)
            recorded = time.perf_counter() - began
            steps = (await (await stood.engine()).stats())["rows_in_steps"]
            began = time.perf_counter()
            found = await _rerun(stood.settings, turns)
            rerun = time.perf_counter() - began
            others = [await _unpromised(stood.settings, name, turns[: size.checked]) for name in UNPROMISED]
    return {
        "format": method,
        "rows_in_a_step": _mean(steps),
        **_counted(found),
        "unpromised": others,
        "seconds": {"recorded": round(recorded, 1), "rerun": round(rerun, 1)},
    }


async def _recorded(stood: Stand, size: Size) -> list[Turn]:
    """All turns, numbered through, so that one can be told from another."""
    at_once = asyncio.Semaphore(ROWS)

    async def converse(number: int) -> list[Turn]:
        name, subject = f"benchmark-{uuid.uuid4().hex}", SUBJECTS[number % len(SUBJECTS)]
        async with at_once:
            for turn in range(1, size.turns_each + 1):
                text = ASKED[(number // len(SUBJECTS) + turn) % len(ASKED)].format(subject)
                await stood.conversations.say(name, Say(message_id=f"m{turn}", text=text), fresh=turn == 1)
            await stood.conversations.close(name, "default")
        return list(tell(await live(stood.conversations.client, name)).turns)

    async with stood.generating(INTERVAL):
        told = await asyncio.gather(*map(converse, range(size.conversations)))
    turns = [turn for each in told for turn in each]
    return [turn.model_copy(update={"turn": number}) for number, turn in enumerate(turns, 1)]


async def _rerun(settings: Settings, turns: Sequence[Turn]) -> list[TokenExact]:
    async def share(part: Sequence[Turn]) -> list[TokenExact]:
        async with evidence(settings) as held:
            return await verify_tokens(held, part, lambda turn, number, why: None)

    found = await asyncio.gather(*(share(turns[first::SHARES]) for first in range(SHARES)))
    return [each for part in found for each in part]


async def _unpromised(settings: Settings, name: str, turns: Sequence[Turn]) -> dict[str, Any]:
    other, told = UNPROMISED[name], set[str]()
    model = settings.model.model_copy(update=other.model)
    async with evidence(settings.model_copy(update={"model": model})) as held:
        with mock.patch.dict(os.environ, other.environment):  # which the engine's process takes over
            found = await verify_tokens(held, turns, lambda turn, number, why: told.update(why))
    return {"engine": name, "told": sorted(told), **_counted(found)}


def _mean(steps: Mapping[str, int]) -> float:
    """Answers in a step, of steps by their number of answers."""
    return round(sum(int(rows) * count for rows, count in steps.items()) / sum(steps.values()), 1)


def _counted(found: Sequence[TokenExact]) -> dict[str, Any]:
    states = Counter(each.state for each in found)
    return {
        "tries": len(found),
        **{state: states[state] for state in ("same", "differs", "unchecked")},
        "tokens": sum(each.tokens for each in found),
        "misses": [
            {
                **each.model_dump(include={"turn", "state", "same", "tokens", "recorded", "today"}),
                "reason": _reason(each),
            }
            for each in found
            if each.state != "same"
        ],
    }


def _reason(each: TokenExact) -> str:
    """As `replay verify` tells it."""
    if each.state == "unchecked":
        return each.why
    return "; ".join(each.unpromised) or "none: engine, weights, prompt and hardware are the recorded ones"


# the table ------------------------------------------------------------------------------------------


def table(result: dict[str, Any]) -> Group:
    title = f"{result['turns']} turns of at most {result['new_tokens_at_most']} new tokens, rerun one at a time"
    shown = Table("weights", "on", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("rows a step, recorded", "tokens", "turns", "the same", "differ", "not checked"):
        shown.add_column(column, justify="right")
    misses: Counter[str] = Counter()
    for each in result["formats"]:
        ways = [{"engine": "the same engine", **each}, *each["unpromised"]]
        for number, way in enumerate(ways):
            first = (each["format"], way["engine"], "" if number else str(each["rows_in_a_step"]))
            counts = (f"{way['tokens']:,}", *(str(way[name]) for name in ("tries", "same", "differs", "unchecked")))
            shown.add_row(*first, *counts)
            misses.update(f"{each['format']}, {way['engine']}: {miss['reason']}" for miss in way["misses"])
    return Group(shown, *(Text(f"{count} × {reason}") for reason, count in misses.items()))
