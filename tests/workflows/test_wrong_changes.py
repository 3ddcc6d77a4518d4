"""Deliberately wrong changes of the workflow code, each shown to be caught by replaying a recorded history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from records.plugin import parley_plugin
from tests.support.record_histories import FOLDER
from workflows import ladder, steps
from workflows.conversation_workflow import ConversationWorkflow
from workflows.progress import TurnInProgress

Patch = pytest.MonkeyPatch


def _another_order(patch: Patch) -> None:
    """Knowledge is looked up before the intent is known."""
    recognise, retrieve = steps.recognise_intent, steps.retrieve_knowledge
    patch.setattr(steps, "recognise_intent", retrieve)
    patch.setattr(steps, "retrieve_knowledge", recognise)


def _an_added_timer(patch: Patch) -> None:
    """A pause before generating."""
    generate = ladder.generate_answer

    async def slower(turn: TurnInProgress) -> None:
        await workflow.sleep(1)
        await generate(turn)

    patch.setattr(ladder, "generate_answer", slower)


def _another_activity(patch: Patch) -> None:
    """The review is called by another name."""
    schedule = steps.schedule

    async def renamed(turn: TurnInProgress, step: str, *rest: object, **more: object) -> object:
        activity = "check_answer" if step == "review_answer" else more.pop("activity", None)
        return await schedule(turn, step, *rest, activity=activity, **more)  # type: ignore[arg-type]

    patch.setattr(steps, "schedule", renamed)


def _a_step_less(patch: Patch) -> None:
    """The intent is no longer asked for."""

    async def nothing(turn: TurnInProgress) -> None:
        return None

    patch.setattr(steps, "recognise_intent", nothing)


def _a_step_twice(patch: Patch) -> None:
    """The message is received twice."""
    receive = steps.receive_input

    async def twice(turn: TurnInProgress) -> None:
        await receive(turn)
        await receive(turn)

    patch.setattr(steps, "receive_input", twice)


def _the_clock(patch: Patch) -> None:
    """A branch that asks the machine's clock, which has gone on since the recording."""
    import time

    generate = ladder.generate_answer

    async def by_clock(turn: TurnInProgress) -> None:
        if time.time() - workflow.time() > 1:
            turn.skip("generate_answer", "too late")
            return
        await generate(turn)

    patch.setattr(ladder, "generate_answer", by_clock)


def _chance(patch: Patch) -> None:
    """A branch by chance; the seed makes it the other one."""
    import random

    dice = random.Random(1)
    retrieve = steps.retrieve_knowledge

    async def by_chance(turn: TurnInProgress) -> None:
        if dice.random() < 0.5:
            return
        await retrieve(turn)

    patch.setattr(steps, "retrieve_knowledge", by_chance)


def _replay(name: str) -> Exception | None:
    history = WorkflowHistory.from_json(name, json.loads((FOLDER / f"{name}.json").read_text()))
    replayer = Replayer(
        workflows=[ConversationWorkflow], plugins=[parley_plugin()], workflow_runner=UnsandboxedWorkflowRunner()
    )
    return asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure


WRONG = (_another_order, _an_added_timer, _another_activity, _a_step_less, _a_step_twice, _the_clock, _chance)


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__.strip("_"))
def test_a_wrong_change_is_caught(change: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Without the change the history replays; with it the replay fails as nondeterministic."""
    assert _replay("normal") is None
    change(monkeypatch)
    failure = _replay("normal")
    assert failure is not None
    assert "ondeterminism" in str(failure)
