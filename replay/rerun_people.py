"""What people did while a recorded turn waited for one, as its rerun gets it again."""

from __future__ import annotations

from typing import Any

from dialogue.messages import CancelTurn, ResolveReview
from dialogue.plan import TurnPlan
from replay.turns import Turn, parsed
from workflows.names import CANCEL_TURN, RESOLVE_REVIEW

__all__ = ["ends_wait", "plan_of_a_rerun", "reviewed_answer"]

_NOBODY_SECONDS = 0.1
"""How long a rerun waits for a person who did not come then."""


def plan_of_a_rerun(recorded: Turn, plan: TurnPlan) -> TurnPlan:
    """The plan, whose wait for a person is over at once where nobody came in time."""
    if recorded.human is None or not recorded.human.timed_out:
        return plan
    return plan.model_copy(update={"review": plan.review.model_copy(update={"human_timeout": _NOBODY_SECONDS})})


def ends_wait(recorded: Turn, waiting: Turn) -> tuple[str, CancelTurn | ResolveReview] | None:
    """The update, by name and argument, that ends the rerun's wait as the recorded one's was ended: its user left, or a
    person decided. ``None`` where nobody did, and where the rerun waits with another draft or for another reason than
    the person decided on: what they would say to that is not known."""
    human = recorded.human
    if human is None or human.timed_out:
        return None
    if recorded.verdict == "cancelled":
        cancel = parsed({"tenant": recorded.tenant, "reason": recorded.note}, CancelTurn)
        return None if cancel is None else (CANCEL_TURN, cancel)
    if recorded.note != f"{waiting.note}; {human.decision} by {human.by}":
        return None
    if reviewed_answer(recorded) != reviewed_answer(waiting):
        return None
    decided: dict[str, Any] = human.model_dump(include={"decision", "by", "note", "answer"})
    message = parsed({**decided, "turn": waiting.turn, "tenant": recorded.tenant}, ResolveReview)
    return None if message is None else (RESOLVE_REVIEW, message)


def reviewed_answer(turn: Turn) -> str | None:
    """The draft that a person is shown; ``None`` where the turn came to none."""
    last = turn.last("review_answer")
    return last.reviewed.answer if last is not None and last.reviewed is not None else None
