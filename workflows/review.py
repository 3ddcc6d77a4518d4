"""A person's decision on a turn that waits for one."""

from __future__ import annotations

from temporalio import workflow

from dialogue.faults import NoSuchReview
from dialogue.messages import ResolveReview
from dialogue.turn import Reply
from workflows.inputs import application_error
from workflows.progress import TurnInProgress

__all__ = ["refuse_unless_waiting", "resolve"]


def refuse_unless_waiting(turn: TurnInProgress | None, message: ResolveReview) -> TurnInProgress:
    """``turn`` itself when it waits and nobody has resolved it; raises ``no-such-review`` else."""
    if turn is None or turn.state != "waiting" or turn.key.turn != message.turn or turn.resolution is not None:
        raise application_error(NoSuchReview(f"turn: turn {message.turn} does not wait for a person"))
    return turn


async def resolve(turn: TurnInProgress | None, message: ResolveReview) -> Reply:
    """Hands the decision to the parked turn and waits for its reply."""
    waiting = refuse_unless_waiting(turn, message)
    waiting.resolution = message
    await workflow.wait_condition(lambda: waiting.state == "done")
    return waiting.reply()
