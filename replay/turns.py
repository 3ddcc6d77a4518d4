"""A turn as it was recorded: each step with what went in and came out, where and when it ran, and how the turn ended.

Values are what the history holds and nothing is made up: what an older history, or a broken one, does not say is
``None`` or empty. Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from dialogue.base import Value
from dialogue.messages import ChatMessage
from dialogue.plan import TurnPlan
from dialogue.steps import (
    Citation,
    Finding,
    GenerateAnswer,
    GeneratedAnswer,
    Passage,
    ReceivedInput,
    RetrievedKnowledge,
    ReviewAnswer,
    ReviewedAnswer,
    Usage,
)

__all__ = ["Feedback", "HumanReview", "Skipped", "StepAttempt", "Story", "StoryRun", "Turn", "TurnStep", "parsed"]

Model = TypeVar("Model", bound=BaseModel)
StepState = Literal["scheduled", "running", "completed", "failed", "timed out", "cancelled"]
TurnState = Literal["queued", "running", "waiting", "done", "refused", "lost"]
"""``refused``: the message was accepted and then failed, so no turn came of it. ``lost``: its run ended before it."""


def parsed(value: Any, kind: type[Model]) -> Model | None:
    """The value as its type, or ``None`` where it was recorded in a form that cannot be read as such."""
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None


class StepAttempt(Value):
    """One attempt at a step. ``failure`` is empty where it ended well or is still under way."""

    number: int
    worker: str = ""
    started: float | None = None
    ended: float | None = None
    tokens: int = 0
    resumed_at: int = 0
    failure: str = ""


class TurnStep(Value):
    """One activity. ``step`` is the step that it belongs to, ``activity`` its own name (``quote_passages`` is a rung
    of the ladder). ``input`` and ``result`` are JSON as recorded; ``event`` is where it was scheduled."""

    step: str
    activity: str
    try_number: int = 1
    summary: str = ""
    event: int
    run: int = 1
    task_queue: str = ""
    scheduled: float
    started: float | None = None
    ended: float | None = None
    attempt: int = 0
    worker: str = ""
    state: StepState = "scheduled"
    failure: str = ""
    attempts: tuple[StepAttempt, ...] = ()
    input: Any = None
    result: Any = None

    @property
    def queue_seconds(self) -> float | None:
        """From being scheduled to its first attempt; ``None`` where only a later attempt's start was recorded."""
        first = self.attempts[0].started if self.attempts else self.started if self.attempt == 1 else None
        return None if not first else max(0.0, first - self.scheduled)

    @property
    def run_seconds(self) -> float | None:
        """Of the last attempt."""
        return None if self.started is None or self.ended is None else max(0.0, self.ended - self.started)

    @property
    def generated(self) -> GeneratedAnswer | None:
        return parsed(self.result, GeneratedAnswer) if self.step == "generate_answer" and self.result else None

    @property
    def reviewed(self) -> ReviewedAnswer | None:
        return parsed(self.result, ReviewedAnswer) if self.activity == "review_answer" and self.result else None


class Skipped(Value):
    """A step that the turn did not need, and why."""

    step: str
    why: str


class HumanReview(Value):
    """The wait for a person. ``by`` is empty while nobody decided; ``timed_out``: nobody did in time."""

    asked: float
    decided: float | None = None
    by: str = ""
    decision: str = ""
    note: str = ""
    answer: str | None = None
    timed_out: bool = False


class Feedback(Value):
    at: float
    user: str
    score: int
    comment: str = ""


class Turn(Value):
    """A turn of a conversation, or the one of a dialogue. ``said`` is the message as it came, ``question`` as the
    policy let it through. ``before``: the messages that the run remembered from before it, oldest first, of which a
    model may be shown the last ones; no JSON has them. ``events`` are its events' ids within ``run`` (1 for the chain's
    first). ``problems``: which of its values cannot be read, and are not among the others for that."""

    conversation: str
    turn: int
    tenant: str = ""
    user: str = ""
    run: int = 1
    run_id: str = ""
    message_id: str = ""
    said: str = ""
    question: str = ""
    before: tuple[ChatMessage, ...] = Field(default=(), exclude=True)
    received: float
    answered: float | None = None
    state: TurnState = "done"
    verdict: str = ""
    answer: str = ""
    note: str = ""
    language: str = ""
    intent: str | None = None
    confidence: float | None = None
    model: str | None = None
    model_digest: str | None = None
    snapshot: str | None = None
    policy_digest: str | None = None
    record: str | None = None
    usage: Usage = Usage()
    citations: tuple[Citation, ...] = ()
    findings: tuple[Finding, ...] = ()
    plan: TurnPlan | None = None
    steps: tuple[TurnStep, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    human: HumanReview | None = None
    cancelled: str = ""
    feedback: tuple[Feedback, ...] = ()
    audit_id: int | None = None
    audit_hash: str = ""
    events: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, activity: str) -> tuple[TurnStep, ...]:
        """Its activities of that name, in order."""
        return tuple(step for step in self.steps if step.activity == activity)

    def last(self, activity: str) -> TurnStep | None:
        return next(iter(reversed(self.of(activity))), None)

    @property
    def received_input(self) -> ReceivedInput | None:
        step = self.last("receive_input")
        return parsed(step.result, ReceivedInput) if step and step.result else None

    @property
    def knowledge(self) -> RetrievedKnowledge | None:
        step = self.last("retrieve_knowledge")
        return parsed(step.result, RetrievedKnowledge) if step and step.result else None

    @property
    def passages(self) -> tuple[Passage, ...]:
        """What was retrieved, best first."""
        return self.knowledge.passages if self.knowledge else ()

    @property
    def drafts(self) -> tuple[TurnStep, ...]:
        """The tries, the quoted one among them."""
        return tuple(step for step in self.steps if step.step == "generate_answer")

    @property
    def rungs(self) -> tuple[tuple[int, str], ...]:
        """What the ladder changed, each with the number of its try: ``(2, "repetition → temperature 0.7")``."""
        return tuple((step.try_number, why) for step in self.drafts if (why := _why(step)))

    @property
    def kept(self) -> TurnStep | None:
        """The try whose text became the answer, or the last one."""
        return next(iter(reversed(self.drafts)), None)

    @property
    def reasoning(self) -> str:
        """What the model thought before the last draft; nothing where it does not reason."""
        draft = next((step.generated for step in reversed(self.drafts) if step.generated), None)
        return draft.reasoning if draft else ""

    @property
    def asked(self) -> GenerateAnswer | None:
        """The argument of the first try."""
        step = next(iter(self.of("generate_answer")), None)
        return parsed(step.input, GenerateAnswer) if step else None

    @property
    def review_asked(self) -> ReviewAnswer | None:
        step = self.last("review_answer")
        return parsed(step.input, ReviewAnswer) if step else None


def _why(step: TurnStep) -> str:
    given: dict[str, Any] = step.input if isinstance(step.input, dict) else {}
    why = str(given.get("why") or "")
    return f"{why.replace('_', ' ')} → quote the passages" if why and step.activity == "quote_passages" else why


class StoryRun(Value):
    """One run of the chain. ``ended``: how its history ends; empty while it runs, or where the file breaks off.
    ``forked``: who set it back, to before which turn, and why, where that can be decoded."""

    run: int
    run_id: str
    workflow_type: str
    source: str
    events: int
    started: float
    ended: str = ""
    forked: str = ""


class Story(Value):
    """A conversation from its first recorded event to its last."""

    conversation: str
    tenant: str = ""
    runs: tuple[StoryRun, ...] = ()
    turns: tuple[Turn, ...] = ()
    problems: tuple[str, ...] = ()
