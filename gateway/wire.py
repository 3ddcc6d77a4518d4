"""What goes over the wire: the bodies and parameters of requests and responses. OpenAPI is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from dialogue.base import CallerInput, Value
from dialogue.messages import ChatMessage, Identifier, OnBusy, Text, TextFile, TurnNumber, Webhook
from dialogue.receipt import Receipt
from dialogue.steps import Citation, Finding, ReceivedFile, Verdict
from dialogue.turn import StepRecord, TurnState
from gateway.message_content import MessageContent

__all__ = [
    "MOST_MESSAGES",
    "CancelQuery",
    "Cancelled",
    "ChatPending",
    "ChatReply",
    "ChatRequest",
    "ChatUsage",
    "Check",
    "DecisionRequest",
    "DialogueRequest",
    "DialogueStatus",
    "Draft",
    "FeedbackRequest",
    "FieldProblem",
    "Health",
    "Problem",
    "QuestionFields",
    "Readiness",
    "Review",
    "Reviews",
    "ReviewsQuery",
    "SaidMessage",
    "StreamQuery",
    "TenantQuery",
    "Thanked",
    "TranscriptQuery",
    "Whoami",
]

MOST_MESSAGES = 200
"""Of a request."""


_EXAMPLE: JsonDict = {"messages": [{"role": "user", "content": "How long do I have to send back shoes?"}]}


class SaidMessage(CallerInput):
    """One message in OpenAI's form: ``content`` is a text, or parts of the types ``text`` and, of the user's messages,
    ``file``."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "user", "assistant"]
    content: MessageContent

    def plain(self) -> ChatMessage:
        """Without its files."""
        return ChatMessage(role=self.role, content=self.content.text)


class QuestionFields(CallerInput):
    """What every message may bring, in a conversation or alone."""

    model_config = ConfigDict(strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    messages: Annotated[list[SaidMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
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

    def question(self) -> tuple[str, tuple[TextFile, ...]]:
        """What is asked, and the files of all messages: an earlier one's belong to the history that is sent."""
        return self.messages[-1].content.text, tuple(file for each in self.messages for file in each.content.files)


class ChatRequest(QuestionFields):
    """One message. With ``conversation`` the last user message of ``messages`` is said in it, and it is opened
    if need be; without one, ``messages`` are the history of a single question, which is their last.
    """

    conversation: Identifier | None = Field(
        default=None, description="its id: an earlier one's, one of your own, or `new` to open one"
    )
    stream: bool = Field(default=False, description="true: server-sent events instead of one answer")
    on_busy: OnBusy | None = Field(
        default=None, description="while another message is being answered; the tenant's own where not given"
    )
    on_disconnect: Literal["continue", "cancel"] | None = Field(
        default=None, description="when you leave in the middle; the tenant's own where not given"
    )

    def question(self) -> tuple[str, tuple[TextFile, ...]]:
        """In a conversation, the last message of the user and its own files alone: the earlier ones were said."""
        if self.conversation is None:
            return super().question()
        said = next(message.content for message in reversed(self.messages) if message.role == "user")
        return said.text, said.files


class DialogueRequest(QuestionFields):
    """One question with its history, answered whether or not anybody waits."""

    wait: float = Field(
        default=0, ge=0, le=3600, description="seconds to wait for the answer, `gateway.wait_seconds` at most"
    )
    webhook: Webhook | None = Field(default=None, description="who is told of the answer")


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
    receipt: Receipt | None = Field(description="proves later what was answered; none while a person has to decide")


class ChatPending(Value):
    """A message that is accepted and not answered yet. Send it again with its ``message_id`` to get the reply."""

    conversation: str
    message_id: str
    state: Literal["running"] = "running"
    workflow_id: str
    run_id: str | None
    trace_url: str


class DialogueStatus(Value):
    """A one-shot and, once there is one, its answer. ``failed``: it was ended from outside; ``problem`` says how."""

    dialogue: str
    state: Literal["running", "waiting", "done", "failed"]
    status_url: str
    reply: ChatReply | None = None
    problem: str | None = None
    workflow_id: str
    run_id: str | None
    trace_url: str


class TenantQuery(CallerInput):
    """Whose it is."""

    tenant: Identifier | None = None


class TranscriptQuery(CallerInput):
    """Whose conversation, and which of its turns."""

    tenant: Identifier | None = None
    turn: TurnNumber | None = Field(default=None, description="this turn alone")
    message_id: Identifier | None = Field(default=None, description="the turn of this message alone")


class StreamQuery(CallerInput):
    """Which turn is read, and from where: behind the event with the id ``after``, or behind ``Last-Event-ID``."""

    tenant: Identifier | None = None
    turn: TurnNumber | None = None
    message_id: Identifier | None = None
    after: int = Field(default=0, ge=0, lt=2**63)


class CancelQuery(CallerInput):
    """Which turn is cancelled: the running one where none is given."""

    tenant: Identifier | None = None
    turn: TurnNumber | None = None
    message_id: Identifier | None = Field(default=None, description="the turn of this message")
    reason: str = Field(default="", max_length=500)


class Cancelled(Value):
    """``turn`` was cancelled."""

    conversation: str
    turn: int


class FeedbackRequest(CallerInput):
    """What somebody thought of an answer. Said again by the same user, it takes the place of the first."""

    model_config = ConfigDict(strict=True)

    conversation: Identifier
    turn: TurnNumber
    score: int = Field(ge=-1, le=1, description="1 good, 0 neither, -1 bad")
    comment: str = Field(default="", max_length=2000)
    user: Identifier | None = Field(default=None, description="who says so; the key's own where it has one")
    tenant: Identifier | None = None


class Thanked(Value):
    """``accepted``: the running conversation keeps it; ``kept``: it is in the audit already."""

    conversation: str
    turn: int
    score: int
    state: Literal["accepted", "kept"]


class ReviewsQuery(CallerInput):
    """Whose reviews: those of every tenant that the caller may use where none is given."""

    tenant: Identifier | None = None


class Draft(Value):
    """What would be sent if a person approved it, and what the review found."""

    answer: str
    reason: str
    findings: tuple[Finding, ...] = ()
    citations: tuple[Citation, ...] = ()


class Review(Value):
    """A turn that waits for a person. Without a ``draft`` the intent itself asks for one."""

    conversation: str
    tenant: str
    turn: int
    message_id: str
    question: str
    language: str
    intent: str | None
    since: float | None = Field(description="Unix time from which on it waits")
    draft: Draft | None
    files: tuple[ReceivedFile, ...] = Field(
        default=(), description="that came with the question, as the turn sees them"
    )


class Reviews(Value):
    """The turns that wait, the longest waiting first."""

    reviews: tuple[Review, ...]


class DecisionRequest(CallerInput):
    """A person's decision: the draft is sent, or ``answer`` in its place, or the tenant's fallback text."""

    model_config = ConfigDict(strict=True)

    turn: TurnNumber
    decision: Literal["approve", "edit", "reject"]
    answer: Text | None = Field(default=None, description="with `edit`, and only then")
    note: str = Field(default="", max_length=2000, description="why, for the records")
    by: Identifier | None = Field(default=None, description="who decides; the key's own user where it has one")
    tenant: Identifier | None = None


class Whoami(Value):
    """What the caller may do here. ``tenant`` and ``user`` are the key's own; null: the caller names them."""

    tenant: str | None
    tenants: tuple[str, ...] = Field(description="those that the caller may use")
    user: str | None
    scopes: tuple[str, ...]
    access: Literal["open", "keys"]
    web_ui: str | None = Field(description="Temporal's Web UI, for who may operate")
    max_files: int = Field(description="that one message may bring")
    max_characters: dict[str, int] = Field(
        description="by tenant: of one message at most, and of its files together as many more"
    )
    languages: tuple[str, ...] = Field(description="those that the model speaks")


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
        default=(), description="the bad fields, twenty at most; left out unless there are several"
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
