"""The least that makes the difference: which passages, messages of the history and settings a turn's fault needs.

They are taken away in parts (:mod:`replay.ddmin`) and the turn is run again without them, until the least is left
whose absence makes the fault go.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from typing import Literal

from dialogue.base import Value
from dialogue.faults import InvalidRequest, ModelFault
from dialogue.steps import GenerateAnswer, Passage
from knowledge_base.citations import SUPPORTED
from knowledge_base.support import support
from replay.changes import Changes
from replay.ddmin import ddmin
from replay.rerun import Reruns
from replay.rerun_history import older_messages
from replay.rerun_people import reviewed_answer
from replay.samples import SEEDS_APART, wilson
from replay.turns import Turn, parsed
from settings.advice import R1_SAMPLING
from settings.answering import GenerationSettings

__all__ = ["Fault", "Part", "Share", "Why", "parts_of", "why"]

_SETTINGS = ("temperature", "top_p", "max_new_tokens", "thinking_budget", "history_turns")


class Fault(Value):
    """What was wrong with an answer: exactly one is given. ``claim``: a sentence whose content the answer holds."""

    verdict: str | None = None
    word: str | None = None
    claim: str | None = None

    def __str__(self) -> str:
        return next(f"{name} {value!r}" for name, value in self.model_dump().items() if value is not None)

    def shows(self, turn: Turn) -> bool:
        if self.verdict is not None:
            return turn.verdict == self.verdict
        # Of a turn that waits for a person it is the draft that may become the answer.
        text = (reviewed_answer(turn) or "") if turn.state == "waiting" else turn.answer
        if self.word is not None:
            return _folded(self.word) in _folded(text)
        return support(self.claim or "", _as_passage(text)).score >= SUPPORTED


class Part(Value):
    """One thing that can be taken away. ``name``: a passage's id, a message's place in the history from 0, a setting.
    Of a setting the recorded value gives way to ``instead``, Parley's own default for the model."""

    kind: Literal["passage", "message", "setting"]
    name: str
    text: str
    instead: float | int | None = None


class Share(Value):
    """In how many of the samples the fault showed; ``low`` and ``high`` bound its share (Wilson, 95%)."""

    hits: int
    samples: int
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, samples: int) -> Share:
        low, high = wilson(hits, samples)
        return cls(hits=hits, samples=samples, low=low, high=high)


class Why(Value):
    """``shown``: whether any rerun shows the fault with nothing taken away; where none does there is nothing to look
    for. ``least``: without them the fault goes, and with any one of them back it comes again; ``None`` where it stays
    whatever is taken away. ``recorded`` and ``without``: how often it shows, in samples that the search did not use.
    ``chance``: whether either of the two was sampled; without it one rerun of each is the whole truth. ``tried``: how
    many ways of taking parts away were run."""

    turn: int
    fault: str
    parts: tuple[Part, ...]
    shown: bool = True
    least: tuple[Part, ...] | None = None
    recorded: Share
    without: Share | None = None
    chance: bool = True
    tried: int = 0

    @property
    def sure(self) -> bool:
        """Whether the two shares' intervals lie apart, or there is no chance in it."""
        if self.without is None:
            return False
        return self.without.high < self.recorded.low if self.chance else self.without.hits < self.recorded.hits


def _not_of_its_parts(turn: Turn) -> str:
    """Who gave the answer where it is not the turn's own draft, else nothing."""
    human = turn.human
    if human is None or human.decided is None or human.decision == "approve":
        return ""
    return "nobody decided in time" if human.timed_out else f"{human.by} decided ({human.decision})"


def parts_of(turn: Turn) -> tuple[Part, ...]:
    """What can be taken away from the turn."""
    return (*_passages(turn), *_messages(turn), *_settings(turn))


async def why(
    bench: Reruns, turn: Turn, fault: Fault, *, samples: int = 1, told: Callable[[str], None] | None = None
) -> Why:
    """The fault is said to be gone where none of ``samples`` reruns shows it: the first with the recorded seed, the
    others with other ones.

    Raises InvalidRequest where the recorded turn does not show it, or has nothing that can be taken away; and what
    :meth:`replay.rerun.Bench.run` raises; ModelFault where a rerun fails.
    """
    if not fault.shows(turn):
        raise InvalidRequest(f"fault: turn {turn.turn} does not show {fault}; its verdict is {turn.verdict}.")
    if fault.verdict is None and (whose := _not_of_its_parts(turn)):
        raise InvalidRequest(
            f"fault: the answer of turn {turn.turn} was not made from its parts: {whose}. Look for --verdict human."
        )
    parts = parts_of(turn)
    if not parts:
        raise InvalidRequest(
            f"turn: turn {turn.turn} has no passage, no history and no setting of its own to take away.", field="turn"
        )
    search = _Search(bench, turn, fault, told)
    if not await search.shows((), samples):
        recorded = Share.of(0, search.reruns)
        return Why(turn=turn.turn, fault=str(fault), parts=parts, shown=False, recorded=recorded, tried=search.tried)
    least = await _least(search, parts, samples)
    (recorded, *without), chance = await search.compared(least, samples)
    return Why(
        turn=turn.turn,
        fault=str(fault),
        parts=parts,
        least=least,
        recorded=recorded,
        without=without[0] if without else None,
        chance=chance,
        tried=search.tried,
    )


async def _least(search: _Search, parts: tuple[Part, ...], samples: int) -> tuple[Part, ...] | None:
    if await search.shows(parts, samples):
        return None
    running = ddmin(parts)
    try:
        away = next(running)
        while True:
            away = running.send(not await search.shows(away, samples))
    except StopIteration as stopped:
        return stopped.value


class _Search:
    def __init__(self, bench: Reruns, turn: Turn, fault: Fault, told: Callable[[str], None] | None) -> None:
        self._bench, self._turn, self._fault, self._told = bench, turn, fault, told
        self.tried = self.reruns = 0
        self._found: dict[tuple[Part, ...], bool] = {}

    async def shows(self, away: tuple[Part, ...], samples: int) -> bool:
        """Whether any sample shows the fault; the first that does is enough, and so is one that was not sampled."""
        if away not in self._found:
            self.tried += 1
            self._found[away] = await self._look(away, samples)
        return self._found[away]

    async def _look(self, away: tuple[Part, ...], samples: int) -> bool:
        if self._told is not None:
            self._told(f"without {len(away)} of its parts")
        for number in range(samples):
            again = await self._one(away, number)
            if self._fault.shows(again):
                return True
            if not _sampled(again):
                return False
        return False

    async def compared(self, least: tuple[Part, ...] | None, samples: int) -> tuple[list[Share], bool]:
        """How often it shows as recorded and without ``least``, in samples that the search did not use; and whether
        either was sampled: else one of each is run."""
        first = samples if samples > 1 else 0
        ways: list[tuple[Part, ...]] = [()] if least is None else [(), least]
        runs = [[await self._one(away, first)] for away in ways]
        chance = any(_sampled(run[0]) for run in runs)
        if chance:
            for away, run in zip(ways, runs, strict=True):
                run += [await self._one(away, number) for number in range(first + 1, first + samples)]
        return [Share.of(sum(self._fault.shows(each) for each in run), len(run)) for run in runs], chance

    async def _one(self, away: tuple[Part, ...], number: int) -> Turn:
        changes = _without(away)
        if number:
            seed = self._turn.plan.generation.seed if self._turn.plan else 0
            changes = changes.with_seed(seed + number * SEEDS_APART)
        self.reruns += 1
        again = await self._bench.run(self._turn, changes)
        if failure := again.broke_down(self._turn):
            raise ModelFault(f"rerun: one failed, and without it nothing is known: {failure}. Mend that and try again.")
        return again.turn


def _sampled(turn: Turn) -> bool:
    """Whether any try, a rung's too, drew its tokens, so that another seed may give another answer."""
    tries = [parsed(step.input, GenerateAnswer) for step in turn.of("generate_answer")]
    return any(asked is None or asked.temperature > 0 for asked in tries)


def _without(away: tuple[Part, ...]) -> Changes:
    return Changes(
        without_passages=tuple(part.name for part in away if part.kind == "passage"),
        without_history=tuple(int(part.name) for part in away if part.kind == "message"),
        settings={part.name: part.instead for part in away if part.kind == "setting"},
    )


def _passages(turn: Turn) -> Iterator[Part]:
    for each in turn.passages:
        yield Part(kind="passage", name=each.id, text=f"{each.document}:{each.start}-{each.end} {each.text}")


def _messages(turn: Turn) -> Iterator[Part]:
    for place, each in enumerate(turn.asked.history if turn.asked else ()):
        yield Part(kind="message", name=str(place), text=f"{each.role}: {each.content}")


def _settings(turn: Turn) -> Iterator[Part]:
    if turn.plan is None or turn.asked is None:
        return
    default = GenerationSettings.model_validate(R1_SAMPLING if turn.plan.model.reasoning == "r1" else {})
    for name in _SETTINGS:
        held, instead = getattr(turn.plan.generation, name), getattr(default, name)
        if name == "history_turns" and instead > held and not older_messages(turn):
            continue  # there is no more to be shown
        if held != instead:
            yield Part(kind="setting", name=f"generation.{name}", text=f"{held} (default {instead})", instead=instead)


def _as_passage(answer: str) -> Passage:
    return Passage(
        id="", document="", title="", section="", language="", text=answer, start=0, end=len(answer), score=1.0
    )


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
