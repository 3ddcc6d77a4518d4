"""One line for each step of a recorded turn, in the words of the table of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from dialogue.steps import ReceivedInput, RecognisedIntent, RetrievedKnowledge, ReturnedAnswer
from replay.turns import TurnStep, parsed
from workflows.wording import (
    describe_draft,
    describe_input,
    describe_intent,
    describe_knowledge,
    describe_returned,
    describe_review,
)

__all__ = ["describe", "seconds_line"]


_READERS: dict[str, tuple[type[BaseModel], Callable[[Any], str]]] = {
    "receive_input": (ReceivedInput, describe_input),
    "recognise_intent": (RecognisedIntent, describe_intent),
    "retrieve_knowledge": (RetrievedKnowledge, describe_knowledge),
    "return_answer": (ReturnedAnswer, describe_returned),
}


def describe(step: TurnStep) -> str:
    """What came of the step; of one that did not end well, why."""
    if step.state != "completed":
        return step.failure or step.state
    given = step.input if isinstance(step.input, dict) else {}
    if (draft := step.generated) is not None:
        return describe_draft(draft, str(given.get("why") or "").replace("_", " "))
    if (reviewed := step.reviewed) is not None:
        return describe_review(reviewed)
    reader = _READERS.get(step.activity)
    value = parsed(step.result, reader[0]) if reader else None
    return reader[1](value) if reader and value else "done"


def seconds_line(seconds: float | None) -> str:
    """``4 ms``, ``1.9 s``; nothing where it is not known."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
