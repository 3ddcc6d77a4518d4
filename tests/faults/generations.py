"""One kill inside a generation: the undisturbed answer first, then the same one again, cut and gone on with."""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from tests.faults.caller import Said
from tests.faults.checks import look_at
from tests.faults.desk import Stop
from tests.faults.fault_site import QUESTIONS, FaultSite
from tests.faults.kills import ANSWERED_SECONDS, REACHED_SECONDS, SEED, write_down
from tests.faults.made import Made, made_of, made_twice
from tests.faults.stops import PLACES, after_token

__all__ = ["SAMPLINGS", "Cut", "CutOutcome", "check_one_cut", "cuts"]

SAMPLINGS = {"greedy": 0.0, "seeded": 0.8}
"""Temperatures."""
SHOWN = ("reasoning", "token")


@dataclass(frozen=True, slots=True)
class Cut:
    """``process`` of the generation is killed at ``place``, for the ``number``-th time."""

    process: str
    place: str
    sampling: str
    number: int = 1

    def stop(self, tokens: int) -> str:
        """The name of the stop, in an answer of so many tokens."""
        return {"first": after_token(1), "late": after_token(tokens - 1)}.get(self.place, self.place)

    @property
    def needs_another_attempt(self) -> bool:
        """An engine that has told the end of its answer is needed no more."""
        return (self.process, self.place) != ("engine", "last")

    def __str__(self) -> str:
        return f"{self.process}-{self.place}-{self.sampling}-{self.number}"


def cuts(times: int) -> list[Cut]:
    """The matrix. Neighbours kill different processes, so that none dies again before it has settled."""
    numbers = range(1, times + 1)
    return [Cut(process, *rest) for *rest, process in product(PLACES, SAMPLINGS, numbers, ("gpu", "engine"))]


@dataclass(frozen=True, slots=True)
class CutOutcome:
    """``recovered`` is seconds from the kill to the next token or the final event that a reader of the stream gets, of
    an attempt after the killed one; ``elsewhere``: another worker's process ended it. ``tokens`` are those of the
    answer, ``twice`` how many of them engines made again, ``shown_twice`` how many characters a reader got again."""

    process: str
    place: str
    sampling: str
    number: int
    seed: int
    recovered: float
    elsewhere: bool
    tokens: int
    twice: int
    shown_twice: int
    lost: int
    doubled: int
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Written:
    """What a turn left: its answer, the ids of its tokens, the text that a reader of its stream got."""

    answer: str
    tokens: tuple[int, ...]
    shown: str


async def check_one_cut(faults: FaultSite, cut: Cut, folder: Path) -> Said:
    """Kills, writes down what came of it, and only then finds fault with it. Gives what was said."""
    seed = int(os.environ.get(SEED) or random.randrange(1_000_000))
    print(f"{cut}: {SEED}={seed}")  # noqa: T201
    outcome, said = await _cut_once(faults, cut, seed)
    write_down(asdict(outcome), folder)
    assert not outcome.wrong
    assert (outcome.lost, outcome.doubled, outcome.shown_twice) == (0, 0, 0)
    return said


async def _cut_once(faults: FaultSite, cut: Cut, seed: int) -> tuple[CutOutcome, Said]:
    """Raises TimeoutError when the place, or the reply, does not come in time."""
    draw = random.Random(seed)
    await faults.ready()
    # seeds that nothing else says: the same words under one seed must have one answer
    asked = draw.choice(QUESTIONS), draw.randrange(10_000, 2**31), SAMPLINGS[cut.sampling]
    undisturbed = await _said(faults, asked)
    expected = await _written(faults, undisturbed)
    faults.answers[undisturbed.text, undisturbed.seed] = expected.answer
    said, stop, killed_at = await _said_and_killed(faults, asked, cut, len(expected.tokens))
    found = await look_at(faults, [said])
    written = await _written(faults, said)
    made = made_of(faults.made, said.stream)
    outcome = CutOutcome(
        **asdict(cut),
        seed=seed,
        recovered=round(await _next_shown(faults, said, made, stop, killed_at) - killed_at, 3),
        elsewhere=await _ended_elsewhere(faults, said, stop),
        tokens=len(written.tokens),
        twice=made_twice(made),
        shown_twice=max(0, len(written.shown) - len(expected.shown)),
        lost=found.lost,
        doubled=found.doubled,
        wrong=(*found.wrong, *_differing(expected, written), *_uncounted(cut, written, made, stop)),
    )
    return outcome, said


async def _said(faults: FaultSite, asked: tuple[str, int, float]) -> Said:
    question, seed, temperature = asked
    said = Said(faults.site.new(), question, seed, temperature=temperature)
    return await asyncio.wait_for(faults.caller.say(said), ANSWERED_SECONDS)


async def _said_and_killed(
    faults: FaultSite, asked: tuple[str, int, float], cut: Cut, tokens: int
) -> tuple[Said, Stop, float]:
    """What was said, the stop at which its generation of ``tokens`` was cut, and when (seconds since the epoch)."""
    question, seed, temperature = asked
    said = Said(faults.site.new(), question, seed, temperature=temperature)
    hold = faults.desk.hold("generate_answer", cut.stop(tokens), said.conversation)
    saying = asyncio.create_task(faults.caller.say(said))
    try:
        stop = await asyncio.wait_for(hold.reached(), REACHED_SECONDS)
        worker, killed_at = faults.worker(stop.pid), time.time()
        if cut.process == "engine":
            faults.engine_of(worker).kill()
        else:
            faults.kill(worker)
        hold.go_on()
        await asyncio.wait_for(saying, ANSWERED_SECONDS)
    finally:
        saying.cancel()
    return said, stop, killed_at


async def _written(faults: FaultSite, said: Said) -> _Written:
    events, tokens = await faults.stream(said)
    shown = "".join(event.data["text"] for event in events if event.kind in SHOWN)
    return _Written(said.reply["answer"], tokens, shown)


async def _next_shown(faults: FaultSite, said: Said, made: list[Made], stop: Stop, killed_at: float) -> float:
    """When a reader got the first text, or the end, that a later attempt made. What the killed engine had made and
    its worker logged afterwards is not counted as recovery. Where no other attempt was needed: the end."""
    later = [each.at for each in made if each.attempt > stop.attempt]
    kinds, since = ((*SHOWN, "final"), min(later)) if later else (("final",), killed_at)
    events, _ = await faults.stream(said)
    return min(event.at for event in events if event.kind in kinds and event.at >= since)


async def _ended_elsewhere(faults: FaultSite, said: Said, stop: Stop) -> bool:
    (generated,) = [each for each in await faults.attempts(said.conversation) if each[0] == "generate_answer"]
    return not generated[2].endswith(f":{stop.pid}")


def _differing(expected: _Written, written: _Written) -> list[str]:
    names = ("answer", "tokens", "shown")
    return [
        f"{name}: {getattr(written, name)!r}, undisturbed {getattr(expected, name)!r}"
        for name in names
        if getattr(written, name) != getattr(expected, name)
    ]


def _uncounted(cut: Cut, written: _Written, made: list[Made], stop: Stop) -> list[str]:
    """Whether the count is one of all tokens, and a later attempt took over exactly where one is needed."""
    wrong = []
    places = {place for each in made for place in range(each.start, each.start + each.count)}
    if places != set(range(len(written.tokens))):
        wrong.append(f"{len(written.tokens)} tokens logged, made were those at {sorted(places)}")
    if any(each.attempt > stop.attempt for each in made) != cut.needs_another_attempt:
        wrong.append(f"the attempts that made something were {sorted({each.attempt for each in made})}")
    return wrong
