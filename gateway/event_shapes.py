"""What the data of a turn's events holds, by kind, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from dialogue.base import Value
from dialogue.plan import StepName
from dialogue.receipt import Receipt
from dialogue.steps import Citation, Verdict
from dialogue.turn import TurnState
from gateway.wire import ChatUsage

__all__ = ["EVENT_DATA"]


class TurnAccepted(Value):
    """The first event: which turn the message became."""

    conversation: str
    turn: int
    message_id: str | None


class StepBegun(Value):
    """A step of the turn begins; again with a higher ``attempt`` where a worker was lost."""

    step: StepName
    attempt: int


class TextShown(Value):
    """The next piece of the reasoning or of the answer."""

    text: str


class PassageShown(Value):
    """The whole passage. ``start`` is where it begins in the document."""

    text: str
    start: int


class CitationFound(Citation):
    """A citation of the reviewed answer, with its passage."""

    passage: PassageShown


class TriedAgain(Value):
    """The answer is made again, because the one before was poor."""

    number: int = Field(serialization_alias="try")
    why: str


class TextWithdrawn(Value):
    """What was shown of this turn's answer and reasoning must go."""

    why: str


class FinalAnswer(Value):
    """The last event. ``answer`` is the text that stands and replaces what was shown."""

    conversation: str
    turn: int
    message_id: str | None
    state: TurnState
    answer: str
    reasoning: str
    language: str
    verdict: Verdict
    intent: str | None
    confidence: float | None
    citations: tuple[Citation, ...]
    model: str | None
    model_digest: str | None
    finish_reason: str | None
    snapshot: str | None
    workflow_id: str
    run_id: str | None
    usage: ChatUsage
    trace_url: str
    receipt: Receipt | None = Field(default=None, description="proves later what was answered")


class StreamProblem(Value):
    """The last event where no answer comes: a problem whose status could not be sent any more."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(default=None, description="left out where there is none")
    retry_after: int | None = Field(default=None, description="with status 429 and 503: seconds to wait")


EVENT_DATA: Mapping[str, type[BaseModel]] = {
    "accepted": TurnAccepted,
    "step": StepBegun,
    "reasoning": TextShown,
    "token": TextShown,
    "citation": CitationFound,
    "retry": TriedAgain,
    "retract": TextWithdrawn,
    "final": FinalAnswer,
    "error": StreamProblem,
}
"""By :attr:`gateway.events.TurnEvent.kind`."""
