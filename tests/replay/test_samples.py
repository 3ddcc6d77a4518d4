"""How often the recorded verdict comes up: what counts as a sample, and what the count says."""

from __future__ import annotations

from itertools import combinations, cycle

import pytest

from replay.changes import Changes, rerun_plan
from replay.rerun import RerunTurn
from replay.samples import sampled, wilson
from replay.story import turn_of
from replay.turns import Turn
from tests.replay.made import story


class _Verdicts:
    """Reruns that come out one after the other as they were told."""

    def __init__(self, *verdicts: str) -> None:
        self._verdicts = cycle(verdicts)
        self.asked: list[Changes] = []

    async def run(self, turn: Turn, changes: Changes) -> RerunTurn:
        self.asked.append(changes)
        verdict = next(self._verdicts)
        failures = ("engine-lost: it is away",) if verdict == "failed" else ()
        return RerunTurn(
            turn=turn.model_copy(update={"verdict": verdict}), changes=changes, again=(), failures=failures
        )


@pytest.fixture
async def turn() -> Turn:
    found = turn_of(await story("normal"), 2)
    assert found.plan is not None
    generation = found.plan.generation.model_copy(update={"temperature": 0.9})
    return found.model_copy(update={"plan": found.plan.model_copy(update={"generation": generation})})


async def test_the_share_is_told_with_its_interval(turn: Turn) -> None:
    """Of the recorded verdict, and how often each other came."""
    found = await sampled(_Verdicts("pass", "block"), turn, 10)
    assert (found.state, found.hits, found.samples, found.verdicts) == ("same", 5, 10, {"pass": 5, "block": 5})
    assert (found.low, found.high) == wilson(5, 10)
    assert (await sampled(_Verdicts("block"), turn, 3)).state == "differs"


async def test_each_sample_has_a_seed_of_its_own(turn: Turn) -> None:
    """Neither the recorded one nor another sample's, and so far apart that no try of one is the first of another; all
    else is as it was recorded."""
    assert turn.plan is not None
    reruns = _Verdicts("pass")
    await sampled(reruns, turn, 5)
    seeds = [turn.plan.generation.seed, *(changes.settings["generation.seed"] for changes in reruns.asked)]
    assert len(set(seeds)) == 6
    assert min(abs(a - b) for a, b in combinations(seeds, 2)) > 1000
    assert [changes.model_copy(update={"settings": {}}) for changes in reruns.asked] == [Changes()] * 5
    assert {tuple(changes.settings) for changes in reruns.asked} == {("generation.seed",)}


async def test_a_rerun_that_failed_is_no_sample(turn: Turn) -> None:
    """It says something of the machine and nothing of the turn; where all did, nothing could be checked."""
    found = await sampled(_Verdicts("pass", "failed"), turn, 4)
    assert (found.state, found.hits, found.samples, found.failed) == ("same", 2, 2, 2)
    assert (found.verdicts, found.why) == ({"pass": 2}, "engine-lost: it is away")
    assert (await sampled(_Verdicts("failed"), turn, 2)).state == "unchecked"


async def test_a_step_that_is_run_again_may_beat_late(turn: Turn) -> None:
    """The process that runs it loads a model meanwhile; where no beat was asked for, none is."""
    assert turn.plan is not None
    steps = {name: step.model_copy(update={"heartbeat": 2.0}) for name, step in turn.plan.steps.items()}
    steps["return_answer"] = steps["return_answer"].model_copy(update={"heartbeat": None})
    plan = rerun_plan(turn.plan.model_copy(update={"steps": steps}), Changes(), {}, "queue")
    assert plan.steps["generate_answer"].heartbeat == 300
    assert plan.steps["return_answer"].heartbeat is None
