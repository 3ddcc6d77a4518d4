"""What of a turn made its fault: the search over recorded turns, with reruns whose outcome the test decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import replay.rerun
from cli.main import run
from dialogue.faults import InvalidRequest, ModelFault
from replay.changes import Changes
from replay.rerun import RerunTurn
from replay.story import turn_of
from replay.turns import Turn
from replay.why import Fault, parts_of, why
from tests.replay.kept import kept_site
from tests.replay.made import HISTORIES, story


class _Decided:
    """Reruns whose verdict is ``block`` where ``bad`` says so of the change."""

    def __init__(self, bad: Callable[[Changes], bool], *, otherwise: str = "pass") -> None:
        self._bad, self._otherwise = bad, otherwise
        self.asked: list[Changes] = []

    async def run(self, turn: Turn, changes: Changes) -> RerunTurn:
        self.asked.append(changes)
        verdict = "block" if self._bad(changes) else self._otherwise
        again = turn.model_copy(update={"verdict": verdict})
        if (temperature := changes.settings.get("generation.temperature")) is not None:
            again = _at(again, temperature)
        return RerunTurn(turn=again, changes=changes, again=())


def _at(turn: Turn, temperature: float, **plan: float) -> Turn:
    """The turn as it runs at that temperature; ``plan``: what else its plan says of sampling."""
    assert turn.plan is not None
    generation = turn.plan.generation.model_copy(update={"temperature": temperature, **plan})
    steps = tuple(
        step.model_copy(update={"input": {**step.input, "temperature": temperature}})
        if step.activity == "generate_answer"
        else step
        for step in turn.steps
    )
    planned = turn.plan.model_copy(update={"generation": generation})
    return turn.model_copy(update={"steps": steps, "plan": planned})


@pytest.fixture
async def turn() -> Turn:
    """A second turn, with passages and a history, that was blocked."""
    return _at(turn_of(await story("normal"), 2), 0.9).model_copy(update={"verdict": "block"})


async def test_the_least_that_makes_the_difference_is_found(turn: Turn) -> None:
    """A message and a setting that are only bad together: either is enough to take away, and one is named."""
    parts = parts_of(turn)
    assert {part.kind for part in parts} == {"passage", "message", "setting"}
    assert [part.text for part in parts if part.name == "generation.temperature"] == ["0.9 (default 0.2)"]

    def bad(changes: Changes) -> bool:
        return 0 not in changes.without_history and "generation.temperature" not in changes.settings

    reruns = _Decided(bad)
    found = await why(reruns, turn, Fault(verdict="block"), samples=4)
    assert found.least is not None
    assert len(found.least) == 1
    assert found.least[0].name in ("0", "generation.temperature")
    assert found.without is not None
    assert (found.recorded.hits, found.without.hits, found.sure) == (4, 0, True)
    seeds = {changes.settings.get("generation.seed") for changes in reruns.asked}
    assert len(seeds) == 8  # four for the search, the recorded one (None) among them, and four others at the end


async def test_both_causes_are_named_where_each_is_enough(turn: Turn) -> None:
    """The fault goes only without all passages."""
    passages = tuple(each.id for each in turn.passages)
    found = await why(_Decided(lambda c: set(c.without_passages) != set(passages)), turn, Fault(verdict="block"))
    assert found.least is not None
    assert tuple(part.name for part in found.least) == passages
    assert not found.sure  # one sample of each


async def test_a_fault_that_stays_is_said_to_stay(turn: Turn) -> None:
    """Whatever is taken away."""
    found = await why(_Decided(lambda _: True), turn, Fault(verdict="block"))
    assert (found.shown, found.least, found.without, found.sure, found.tried) == (True, None, None, False, 2)


@pytest.mark.parametrize(("temperature", "runs"), [(0.9, 3), (0.0, 1)])
async def test_a_fault_that_no_rerun_shows_is_not_looked_for(turn: Turn, temperature: float, runs: int) -> None:
    """Nothing is taken away: what is seen without a part would say nothing of it."""
    reruns = _Decided(lambda _: False)
    found = await why(reruns, _at(turn, temperature), Fault(verdict="block"), samples=3)
    assert (found.shown, found.least, found.sure) == (False, None, False)
    assert (found.recorded.hits, found.recorded.samples) == (0, runs)
    assert len(reruns.asked) == runs


async def test_a_rerun_that_fails_takes_no_fault_away(turn: Turn) -> None:
    """That an engine is away does not make an answer right."""
    reruns = _Decided(lambda _: False, otherwise="failed")
    with pytest.raises(ModelFault, match="one failed, and without it nothing is known"):
        await why(reruns, turn, Fault(verdict="block"))


async def test_without_chance_one_sample_is_the_truth(turn: Turn) -> None:
    """However many are asked for: the temperature was tried too, and is none of what made the fault."""
    found = await why(_Decided(lambda c: not c.without_history), _at(turn, 0.0), Fault(verdict="block"), samples=9)
    assert (found.recorded.samples, found.chance, found.sure) == (1, False, True)


@pytest.mark.parametrize(("samples", "sure"), [(1, False), (4, True)])
async def test_a_temperature_of_0_that_is_taken_away_leaves_it_to_chance(turn: Turn, samples: int, sure: bool) -> None:
    """What runs at Parley's default is sampled: one rerun of it proves nothing, several are run and counted."""
    reruns = _Decided(lambda c: "generation.temperature" not in c.settings)
    found = await why(reruns, _at(turn, 0.0), Fault(verdict="block"), samples=samples)
    assert found.least is not None
    assert [part.text for part in found.least] == ["0.0 (default 0.2)"]
    assert (found.chance, found.recorded.samples, found.sure) == (True, samples, sure)


async def test_a_rung_that_samples_is_chance_too(turn: Turn) -> None:
    """The turn was asked at 0, and its second try was not."""
    cold = _at(turn, 0.0)
    first = cold.of("generate_answer")[0]
    rung = first.model_copy(update={"try_number": 2, "input": {**first.input, "temperature": 0.7}})
    climbed = cold.model_copy(update={"steps": (*cold.steps, rung)})
    found = await why(_Decided(lambda c: not c.without_history), climbed, Fault(verdict="block"))
    assert (found.chance, found.sure) == (True, False)


async def test_r1_sampled_as_its_authors_advise_is_no_setting_of_its_own(turn: Turn) -> None:
    """A model's default is its own: 0.6 and 0.95 deviate where the model does not reason, and nothing does for R1."""
    warm = _at(turn, 0.6, top_p=0.95)
    assert warm.plan is not None
    r1 = warm.model_copy(
        update={"plan": warm.plan.model_copy(update={"model": warm.plan.model.model_copy(update={"reasoning": "r1"})})}
    )
    deviating = ("generation.temperature", "generation.top_p")
    assert [part.name for part in parts_of(warm) if part.name in deviating] == list(deviating)
    assert not [part for part in parts_of(r1) if part.name in deviating]
    assert [part.text for part in parts_of(_at(r1, 0.2)) if part.name in deviating] == ["0.2 (default 0.6)"]


async def test_what_a_fault_is(turn: Turn) -> None:
    """A word whatever its case and width; a claim by its content; a fault that the turn does not show is refused."""
    said = turn.model_copy(update={"answer": "You can return shoes within 30 days."})
    assert Fault(word="ＳＨＯＥＳ").shows(said)
    assert Fault(claim="Shoes may be returned within 30 days").shows(said)
    assert not Fault(claim="Shoes may be returned within 90 days of delivery, unworn").shows(said)
    with pytest.raises(InvalidRequest, match="turn 2 does not show verdict 'pass'; its verdict is block"):
        await why(_Decided(lambda _: True), turn, Fault(verdict="pass"))
    bare = turn.model_copy(update={"steps": ()})
    with pytest.raises(InvalidRequest, match="has no passage, no history and no setting"):
        await why(_Decided(lambda _: True), bare, Fault(verdict="block"))


@pytest.mark.parametrize(
    ("bad", "code", "said"),
    [
        (lambda c: 0 not in c.without_history, 0, ("in 4 of 4 samples (51% to 100%) as recorded", "message 1  user: ")),
        (lambda c: True, 4, ("It stays without any of its", "look at question, model and policy")),
        (lambda c: False, 4, ("in 0 of 4 samples", "No rerun shows it with nothing taken away", "see diff --rerun")),
    ],
)
def test_the_command_says_what_is_left_and_how_sure_it_is(
    bad: Callable[[Changes], bool], code: int, said: tuple[str, ...],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Over the samples; and ends with 4 where nothing that can be taken away made the fault."""

    @asynccontextmanager
    async def decided(_evidence: object) -> AsyncIterator[_Decided]:
        yield _Decided(lambda c: not bad(c))  # the recorded turn passed: its verdict is what is looked for

    monkeypatch.setenv("PARLEY_CONFIG", str(kept_site(tmp_path, "normal")))
    monkeypatch.setattr(replay.rerun, "bench", decided)
    asked = ["--file", str(HISTORIES / "normal.json"), "--turn", "2", "--verdict", "pass", "--samples", "4"]
    assert run(["replay", "why", *asked]) == code
    told = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(each.split()) in told for each in said)
    if not code:
        assert "sure at 95%: the two lie apart" in told


def test_one_fault_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither none nor two, and at least one sample."""
    for wrong in ([], ["--verdict", "pass", "--word", "x"], ["--verdict", "pass", "--samples", "0"]):
        assert run(["replay", "why", "--file", str(HISTORIES / "normal.json"), *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
