"""What goes in and out of a conversation."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from dialogue.base import CallerInput, Value

__all__ = [
    "ANONYMOUS",
    "MAX_MESSAGE_CHARACTERS",
    "MAX_PAYLOAD_BYTES",
    "MOST_FILES",
    "MOST_MESSAGES",
    "CancelTurn",
    "ChatMessage",
    "ConversationStart",
    "DialogueStart",
    "Feedback",
    "Forked",
    "Identifier",
    "OnBusy",
    "ResolveReview",
    "Say",
    "TenantOnly",
    "Text",
    "TextFile",
    "TurnKey",
    "TurnNumber",
    "TurnOnly",
    "Webhook",
    "message_digest",
    "message_stream",
    "text_digest",
]

ANONYMOUS = "anonymous"
MAX_MESSAGE_CHARACTERS = 100_000
"""The hard bound of one message; a tenant's own bound is lower."""
MAX_PAYLOAD_BYTES = 1_500_000
"""The hard bound of all that one call brings. Temporal's is 2 MB, and what comes in goes on to the steps with more."""
MOST_MESSAGES = 1000
"""Of one question with its history."""
MOST_FILES = 4
"""That one message brings."""
LONGEST_IDLE = 100 * 365 * 86_400.0
"""Seconds; a timer of thousands of years is none."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_MESSAGE_CHARACTERS)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TurnNumber = Annotated[int, Field(ge=1, lt=2**31)]
CallerToken = Annotated[str | None, Field(max_length=2048, repr=False)]
"""Vouches for tenant and user, where the site asks for that (``access.sdk: signed``)."""
OnBusy = Literal["queue", "reject", "interrupt"]
"""What becomes of a message while another is being answered: it waits its turn, is refused, or ends the other one."""


def text_digest(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes, in hexadecimal; lone surrogates are kept apart, never raised on."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _one_line(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("must be one line, without control characters. Name the file as a person would read it")
    return name


class TextFile(CallerInput):
    """A file that a message brings. Only texts are read."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_one_line)]
    text: Text


def _not_too_long(files: tuple[TextFile, ...]) -> tuple[TextFile, ...]:
    total = sum(len(file.text) for file in files)
    if total > MAX_MESSAGE_CHARACTERS:
        raise ValueError(f"have {total} characters together. Send at most {MAX_MESSAGE_CHARACTERS}")
    return files


TextFiles = Annotated[
    tuple[TextFile, ...],
    # Left out where there are none: what is sent without files is what it was before there were any.
    Field(max_length=MOST_FILES, exclude_if=operator.not_, description="texts that come with it"),
    AfterValidator(_not_too_long),
]


def message_digest(text: str, files: Sequence[TextFile] = ()) -> str:
    """Tells a message by what it says: ``text_digest`` of its text, and of its files' names and texts where it brings
    any."""
    if not files:
        return text_digest(text)
    return text_digest("\n".join([text_digest(text), *(f"{text_digest(file.text)} {file.name}" for file in files)]))


class TurnKey(Value):
    """Which turn of which conversation. ``stream`` is the token log's name for it."""

    conversation: str
    turn: int = Field(ge=1)
    tenant: str

    @property
    def stream(self) -> str:
        return f"{self.conversation}/{self.turn:04d}"


def message_stream(conversation: str, message_id: str) -> str:
    """The token log's name for the stream whose one event tells which turn a message became."""
    return f"{conversation}/m/{message_id}"


class ChatMessage(CallerInput):
    """One message in OpenAI's form."""

    role: Literal["system", "user", "assistant"]
    content: Text


class ConversationStart(CallerInput):
    """Opens a conversation. ``fresh`` says that its id was just made, so that nothing older need be looked up."""

    tenant: Identifier = "default"
    opened_by: Identifier = "sdk"
    fresh: bool = False
    idle_timeout: float | None = Field(
        default=None, gt=0, le=LONGEST_IDLE, description="seconds; None: the built-in one"
    )
    pending: int = Field(default=8, ge=1, le=100, description="messages that may wait")
    turns_per_run: int | None = Field(default=None, ge=1, le=10_000, description="continue as new after so many turns")
    carried: dict[str, Any] | None = Field(default=None, description="set by continue-as-new alone")


class Say(CallerInput):
    """One message of a person."""

    message_id: Identifier
    text: Text
    files: TextFiles = ()
    tenant: Identifier = "default"
    user: Identifier = ANONYMOUS
    address: str | None = Field(default=None, max_length=64)
    caller: CallerToken = None
    temperature: Temperature | None = None
    seed: int | None = Field(default=None, ge=0, le=2**53)
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    model: Identifier | None = None
    on_busy: OnBusy = "queue"


class Webhook(CallerInput):
    """Who is told of an answer. What it is signed with stands in the settings and never here."""

    url: str = Field(min_length=1, max_length=2000, description="of a host that the tenant's `webhook_hosts` list")


class DialogueStart(CallerInput):
    """One question, one answer. Give ``question``, or ``messages`` whose last is the user's; ``files`` belong to it."""

    question: Text | None = None
    messages: Annotated[tuple[ChatMessage, ...], Field(max_length=MOST_MESSAGES)] = ()
    files: TextFiles = ()
    tenant: Identifier = "default"
    user: Identifier = ANONYMOUS
    address: str | None = Field(default=None, max_length=64)
    caller: CallerToken = None
    message_id: Identifier | None = None
    temperature: Temperature | None = None
    seed: int | None = Field(default=None, ge=0, le=2**53)
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    model: Identifier | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _one_question(self) -> DialogueStart:
        if (self.question is None) == (not self.messages):
            raise ValueError("give either question or messages, and not both")
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("the last of messages must have the role user")
        return self


class TenantOnly(CallerInput):
    """Asks or closes: whose conversation it is."""

    tenant: Identifier = "default"


class TurnOnly(TenantOnly):
    """Asks for one turn."""

    turn: TurnNumber


class CancelTurn(CallerInput):
    """Cancels the running turn, or the one of that number or message if it runs or still waits."""

    tenant: Identifier = "default"
    turn: TurnNumber | None = None
    message_id: Identifier | None = None
    reason: str = Field(default="", max_length=500)


class ResolveReview(CallerInput):
    """A person's decision on a turn that waits: approve the draft, send ``answer`` instead, or reject it."""

    turn: TurnNumber
    decision: Literal["approve", "edit", "reject"]
    tenant: Identifier = "default"
    by: Identifier
    answer: Text | None = None
    note: str = Field(default="", max_length=2000)

    @model_validator(mode="after")
    def _answer_with_edit(self) -> ResolveReview:
        if (self.decision == "edit") != (self.answer is not None):
            raise ValueError("answer is given with the decision edit, and only then")
        return self


class Feedback(CallerInput):
    """What a person thought of an answer."""

    turn: TurnNumber
    score: int = Field(ge=-1, le=1)
    user: Identifier = ANONYMOUS
    tenant: Identifier = "default"
    comment: str = Field(default="", max_length=2000)


class Forked(CallerInput):
    """Told to a conversation that was reset to before a turn: ``total`` turns were numbered by then, and the numbers of
    those that were left behind are not given again, because the audit keeps them."""

    tenant: Identifier = "default"
    before: TurnNumber
    total: TurnNumber
    by: Identifier
    why: str = Field(min_length=1, max_length=2000)
