"""What goes over the wire: the bodies and parameters of requests and responses. OpenAPI is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from dialogue.base import CallerInput, Value
from dialogue.messages import ChatMessage, Identifier, OnBusy
from dialogue.steps import Citation, Verdict
from dialogue.turn import StepRecord, TurnState

__all__ = [
    "CancelQuery",
    "Cancelled",
    "ChatPending",
    "ChatReply",
    "ChatRequest",
    "ChatUsage",
    "Check",
    "FieldProblem",
    "Health",
    "Problem",
    "Readiness",
    "StreamQuery",
    "TranscriptQuery",
]

MOST_MESSAGES = 200


class ChatRequest(CallerInput):
    """One message. With ``conversation`` the last user message of ``messages`` is said in it, and it is opened
    if need be; without one, ``messages`` are the history of a single question, which is their last.
    """

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "How long do I have to send back shoes?"}]}]
        },
    )

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    conversation: Identifier | None = Field(
        default=None, description="its id: an earlier one's, one of your own, or `new` to open one"
    )
    message_id: Identifier | None = Field(
        default=None, description="sent again, it gets its first reply; else the Idempotency-Key header, else made here"
    )
    tenant: Identifier | None = Field(default=None, description="the key's own where access needs one, else `default`")
    user: Identifier | None = Field(default=None, description="who asks, for the audit; the key's own where it has one")
    temperature: float | None = Field(default=None, ge=0, le=2, description="the model's own advice where not given")
    seed: int | None = Field(default=None, ge=0, le=2**53)
    max_tokens: int | None = Field(
        default=None, ge=1, le=32_768, description="tokens to make at most, reasoning included"
    )
    model: Identifier | None = Field(default=None, description="name or alias; the tenant's own where not given")
    stream: bool = Field(default=False, description="true: server-sent events instead of one answer")
    on_busy: OnBusy | None = Field(
        default=None, description="while another message is being answered; the tenant's own where not given"
    )
    on_disconnect: Literal["continue", "cancel"] | None = Field(
        default=None, description="when you leave in the middle; the tenant's own where not given"
    )


class ChatUsage(Value):
    """Token counts of all tries together. ``completion_tokens`` includes ``reasoning_tokens``."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int


class ChatReply(Value):
    """An answer. ``state`` is ``waiting`` while a person has to decide; ``answer`` then says so."""

    answer: str
    reasoning: str
    citations: tuple[Citation, ...]
    verdict: Verdict
    intent: str | None
    confidence: float | None
    conversation: str
    turn: int
    message_id: str
    state: TurnState
    language: str
    workflow_id: str
    run_id: str
    trace_url: str
    model: str | None
    snapshot: str | None
    usage: ChatUsage
    steps: tuple[StepRecord, ...]


class ChatPending(Value):
    """A message that is accepted and not answered yet. Send it again with its ``message_id`` to get the reply."""

    conversation: str
    message_id: str
    state: Literal["running"] = "running"
    workflow_id: str
    run_id: str | None
    trace_url: str


class TranscriptQuery(CallerInput):
    """Whose conversation, and which of its turns."""

    tenant: Identifier | None = None
    turn: int | None = Field(default=None, ge=1, description="this turn alone")
    message_id: Identifier | None = Field(default=None, description="the turn of this message alone")


class StreamQuery(CallerInput):
    """Which turn is read, and from where: behind the event with the id ``after``, or behind ``Last-Event-ID``."""

    tenant: Identifier | None = None
    turn: int | None = Field(default=None, ge=1)
    message_id: Identifier | None = None
    after: int = Field(default=0, ge=0)


class CancelQuery(CallerInput):
    """Which turn is cancelled: the running one where none is given."""

    tenant: Identifier | None = None
    turn: int | None = Field(default=None, ge=1)
    message_id: Identifier | None = Field(default=None, description="the turn of this message")
    reason: str = Field(default="", max_length=500)


class Cancelled(Value):
    """``turn`` was cancelled."""

    conversation: str
    turn: int


class FieldProblem(Value):
    """One bad field."""

    field: str
    detail: str


class Problem(Value):
    """RFC 9457 problem details."""

    type: str = Field(description="where this kind of problem is documented, or about:blank")
    title: str
    status: int
    detail: str = Field(description="what is wrong and the way out")
    instance: str = Field(description="the request id")
    field: str | None = Field(default=None, description="the bad field; left out where there is none")
    errors: tuple[FieldProblem, ...] = Field(
        default=(), description="each bad field; left out unless there are several"
    )


class Health(Value):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Check(Value):
    """One thing that readiness needs; ``detail`` says what is missing and what to do."""

    name: str
    ok: bool
    detail: str = ""


class Readiness(Value):
    """Whether a message would be answered now."""

    ready: bool
    checks: tuple[Check, ...]
