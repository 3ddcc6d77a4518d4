"""One kill: which, where, and what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tests.faults.caller import Said
from tests.faults.checks import look_at
from tests.faults.fault_site import PROCESSES, QUESTIONS, SMALL_TALK, Asked, FaultSite
from tests.faults.stops import STEPS, WHENS

__all__ = [
    "ANSWERED_SECONDS",
    "MANY",
    "REACHED_SECONDS",
    "RESULTS",
    "SEED",
    "Kill",
    "Outcome",
    "check_one_kill",
    "kill_once",
    "kills",
    "learn_undisturbed",
    "write_down",
]

RESULTS = "FAULT_RESULTS"
"""The environment's name of the file that outcomes are added to, a JSON line each."""
SEED = "FAULT_SEED"
"""The environment's name of a seed to do again; else each kill draws one."""
MANY = 20
REACHED_SECONDS = 90.0
"""How long a turn may take to the stop."""
ANSWERED_SECONDS = 180.0
"""How long the last reply may take after a kill: far above what is measured, and far below for ever."""


@dataclass(frozen=True, slots=True)
class Kill:
    """``process`` is killed when one of ``conversations`` comes to a stop."""

    process: str
    step: str
    when: str
    conversations: int

    @property
    def asked(self) -> Asked:
        """Every question runs all six steps where the generation is killed; elsewhere every other one is small talk,
        which is half the work for the same number of conversations. The first one always runs all six."""
        all_six = self.step == "generate_answer"
        kinds = [QUESTIONS if all_six or number % 2 == 0 else SMALL_TALK for number in range(self.conversations)]
        return tuple((kind[number // 2 % len(kind)], number) for number, kind in enumerate(kinds))

    def __str__(self) -> str:
        return f"{self.process}-{self.when}-{self.step}-{self.conversations}"


def kills(conversations: int) -> list[Kill]:
    """All of one size. Neighbours kill different processes, so that none dies again before it has settled."""
    return [Kill(process, step, when, conversations) for step, when, process in product(STEPS, WHENS, PROCESSES)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``recovered`` is seconds from the kill to the last reply, ``undisturbed`` from the same stop without one,
    ``sent_again`` how often callers had to."""

    process: str
    step: str
    when: str
    conversations: int
    seed: int
    recovered: float
    undisturbed: float
    lost: int
    doubled: int
    sent_again: int
    why_again: dict[str, int]
    wrong: tuple[str, ...]


async def learn_undisturbed(faults: FaultSite, asked: Asked) -> None:
    """What is answered, and how long it takes from each stop, when nothing is killed."""
    faults.desk.forget()
    said, saying = faults.say(*asked)
    await asyncio.wait_for(asyncio.gather(*saying), ANSWERED_SECONDS)
    last = max(each.answered_at for each in said)
    for each in said:
        faults.answers[each.text, each.seed] = each.reply["answer"]
    for step, when in product(STEPS, WHENS):
        at = sorted(stop.at for stop in faults.desk.heard if (stop.step, stop.when) == (step, when))
        faults.undisturbed[asked, step, when] = last - at[len(at) // 2]


async def check_one_kill(faults: FaultSite, kill: Kill, folder: Path) -> list[Said]:
    """Kills, writes down what came of it, and only then finds fault with it. Gives what was said."""
    seed = int(os.environ.get(SEED) or random.randrange(1_000_000))
    print(f"{kill}: {SEED}={seed}")  # noqa: T201
    outcome, said = await kill_once(faults, kill, seed)
    write_down(asdict(outcome), folder)
    assert not outcome.wrong
    assert (outcome.lost, outcome.doubled) == (0, 0)
    return said


async def kill_once(faults: FaultSite, kill: Kill, seed: int) -> tuple[Outcome, list[Said]]:
    """Raises TimeoutError when the stop, or the last reply, does not come in time."""
    draw = random.Random(seed)
    await faults.ready()
    asked = kill.asked
    if (asked, kill.step, kill.when) not in faults.undisturbed:
        await learn_undisturbed(faults, asked)
    faults.desk.forget()
    said, saying = faults.say(*draw.sample(asked, len(asked)))
    victim = draw.choice([each for each in said if each.text in QUESTIONS])
    hold = faults.desk.hold(kill.step, kill.when, victim.conversation)
    try:
        await asyncio.wait_for(hold.reached(), REACHED_SECONDS)
        killed_at = time.monotonic()
        faults.kill(kill.process)
        hold.go_on()
        await asyncio.wait_for(asyncio.gather(*saying), ANSWERED_SECONDS)
    finally:
        for task in saying:
            task.cancel()
    again = Counter(why for each in said for why in each.again)
    recovered = max(each.answered_at for each in said) - killed_at
    found = await look_at(faults, said)
    outcome = Outcome(
        **asdict(kill),
        seed=seed,
        recovered=round(recovered, 3),
        undisturbed=round(faults.undisturbed[asked, kill.step, kill.when], 3),
        lost=found.lost,
        doubled=found.doubled,
        sent_again=again.total(),
        why_again=dict(again),
        wrong=tuple(found.wrong),
    )
    return outcome, said


def write_down(outcome: dict[str, Any], folder: Path) -> None:
    """Adds a line to the file that the environment names, else to one in ``folder``."""
    path = Path(os.environ.get(RESULTS) or folder / "kills.jsonl")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
