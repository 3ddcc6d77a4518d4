"""A turn that a person decided, run again: what was done then is done again, where it was about the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from dialogue.faults import InvalidRequest
from dialogue.messages import ResolveReview
from replay.affected import Affected, ask_again
from replay.changes import Changes
from replay.diff import compare
from replay.evidence import evidence
from replay.rerun import Bench, bench
from replay.rerun_people import ends_wait
from replay.samples import sampled
from replay.story import turn_of
from replay.turns import Turn, TurnStep
from replay.why import Fault, why
from settings.load import load
from tests.replay.made import story

_REACHES_NOTHING = Changes(settings={"generation.max_seconds": 599})


@pytest.fixture
async def reruns(tmp_path: Path, temporal: WorkflowEnvironment) -> AsyncIterator[Bench]:
    """At a site without a model."""
    file = tmp_path / "temporal.yaml"
    file.write_text("data: var\n")
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "records.db").touch()
    async with evidence(load(file)) as held, bench(held, temporal.client) as made:
        yield made


@pytest.mark.parametrize(
    "name",
    [
        *("human-approved", "human-resolved", "human-rejected", "human-timed-out", "human-by-intent"),
        *("dialogue-resolved", "cancelled-while-waiting"),
    ],
)
async def test_what_was_decided_then_is_decided_again(reruns: Bench, name: str) -> None:
    """With a change that reaches nothing the turn comes out the same and no step is run again: whoever decided, how,
    and also where nobody did or its user left meanwhile."""
    turn = turn_of(await story(name), 1)
    again = await reruns.run(turn, _REACHES_NOTHING)
    found = compare(turn, again.turn)
    assert found.same, (found.outcome, found.first)
    assert (again.again, again.failures, again.left_waiting(turn)) == ((), (), "")
    assert again.turn.state == "done"


async def test_a_decision_holds_for_what_it_was_about(reruns: Bench) -> None:
    """Over another draft, or for another reason, the rerun waits, and says that it does."""
    turn = turn_of(await story("human-approved"), 1)
    waiting = turn.model_copy(update={"note": "a rule", "turn": 7, "state": "waiting"})
    decided = ends_wait(turn, waiting)
    assert decided is not None
    assert decided[1] == ResolveReview(turn=7, decision="approve", by="ann", tenant=turn.tenant)
    assert ends_wait(turn, waiting.model_copy(update={"note": "another rule"})) is None
    assert ends_wait(turn, _drafted(waiting, "You have 90 days [1].")) is None
    other = turn.model_copy(update={"note": "another rule; approve by ann"})
    again = await reruns.run(other, _REACHES_NOTHING)
    assert again.turn.state == "waiting"
    assert again.left_waiting(other).startswith("it waits for a person: what ann decided on was another draft")


async def test_a_fault_is_looked_for_in_what_a_person_is_shown(reruns: Bench) -> None:
    """Of a rerun that waits; what a person wrote in place of the draft no part of the turn has made."""
    approved, edited = turn_of(await story("human-approved"), 1), turn_of(await story("human-resolved"), 1)
    waiting = approved.model_copy(update={"state": "waiting", "answer": "(waiting)"})
    assert Fault(word="30 days").shows(waiting)
    assert not Fault(word="30 days").shows(_drafted(waiting, "You have 90 days [1]."))
    with pytest.raises(InvalidRequest, match=r"was not made from its parts: ann decided \(edit\)"):
        await why(reruns, edited, Fault(word="shop"))


async def test_a_turn_that_its_user_cancelled_has_no_answer_to_compare(reruns: Bench) -> None:
    """Its reruns are not cancelled: neither samples nor today's answer say anything of it."""
    turn = turn_of(await story("cancelled"), 1)
    assert turn.plan is not None
    warm = turn.plan.model_copy(update={"generation": turn.plan.generation.model_copy(update={"temperature": 0.9})})
    found = await sampled(reruns, turn.model_copy(update={"plan": warm}), 2)
    assert (found.state, found.samples) == ("unchecked", 0)
    assert found.why.startswith("it was cancelled (the reader left)")
    row = Affected(
        conversation=turn.conversation, turn=1, tenant="", user="", at=0.0, verdict="cancelled", question="", answer=""
    )
    asked = await ask_again(reruns, row, turn, _REACHES_NOTHING)
    assert (asked.same, asked.problem) == (
        None,
        "it was cancelled (the reader left): there is no answer to compare",
    )


def _drafted(turn: Turn, answer: str) -> Turn:
    def edited(step: TurnStep) -> TurnStep:
        if step.activity != "review_answer":
            return step
        return step.model_copy(update={"result": {**step.result, "answer": answer}})

    return turn.model_copy(update={"steps": tuple(map(edited, turn.steps))})
