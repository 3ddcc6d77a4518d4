"""Deliberately wrong changes of the workflow code, each shown to be caught by replaying a recorded history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner

from tests.support.changed_workflows import changed_workflows, failures_of
from tests.support.replay import replay
from workflows import ladder, steps
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


WRONG = (_another_order, _an_added_timer, _another_activity, _a_step_less, _a_step_twice, _the_clock, _chance)


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__.strip("_"))
def test_a_wrong_change_is_caught(change: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """Without the change the history replays; with it the replay fails as nondeterministic."""
    assert replay("normal", UnsandboxedWorkflowRunner()) is None
    change(monkeypatch)
    failure = replay("normal", UnsandboxedWorkflowRunner())
    assert failure is not None
    assert "ondeterminism" in str(failure)


START = "    started = workflow.time()\n"
IN_THE_SANDBOX = {
    "the clock": (START, "    import time\n\n    started = time.time()\n", "Cannot access time.time"),
    "the date": (START, "    import datetime\n\n    started = datetime.datetime.now().timestamp()\n", "datetime.now"),
    "chance": (START, START + "    import random\n\n    random.random()\n", "Cannot access random.random"),
    "a new name": (START, START + "    import uuid\n\n    uuid.uuid4()\n", "Cannot access uuid.uuid4"),
    "a file": (START, START + '    open("temporal.yaml")\n', "Cannot access __builtins__.open"),
    "the environment": (START, START + '    import os\n\n    os.environ["HOME"]\n', "Cannot access os.environ"),
    "an added timer": (START, START + "    await workflow.sleep(1)\n", "ondeterminism"),
}
"""What is written into ``ladder.generate_answer``, and what the sandbox or the replay says of it."""


@pytest.mark.parametrize(("before", "after", "said"), IN_THE_SANDBOX.values(), ids=IN_THE_SANDBOX)
def test_a_wrong_change_is_caught_in_the_sandbox(tmp_path: Path, before: str, after: str, said: str) -> None:
    """Workers run workflows in the sandbox: what would differ at the next replay is refused where it is called."""
    folder = changed_workflows(tmp_path, {"ladder.py": (before, after)})
    assert said in failures_of(folder, "normal")["normal"]


def test_a_forgotten_cap_on_tokens_is_caught(tmp_path: Path) -> None:
    """By the turn that had none left and quoted, where the ladder would now sample again."""
    folder = changed_workflows(
        tmp_path, {"ladder.py": ("return None if self.plan.max_turn_tokens is None else", "return None and")}
    )
    told = failures_of(folder, "rung-tokens-used-up", "rung-repetition")
    assert "ondeterminism" in told["rung-tokens-used-up"]
    assert told["rung-repetition"] == ""


def test_an_unchanged_copy_is_not_caught(tmp_path: Path) -> None:
    """So it is the change that the others are caught for."""
    assert failures_of(changed_workflows(tmp_path, {}), "normal", "dialogue") == {"normal": "", "dialogue": ""}
