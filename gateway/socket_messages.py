"""What a client sends over a WebSocket: one JSON object a message, ``type`` says which; a field is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, Field

from dialogue.base import CallerInput
from dialogue.faults import InvalidRequest, MalformedBody
from dialogue.messages import CancelTurn, Identifier, Text, TurnNumber
from gateway import validation
from gateway.json_body import parse_object
from gateway.wire import ChatRequest, FeedbackRequest

__all__ = ["KINDS", "Auth", "Cancel", "Given", "Message", "Ping", "Resume", "message_of", "object_of"]

LONGEST_REF = 128


class Resume(CallerInput):
    """A turn is followed again, behind the event ``after``: the newest one where none is named."""

    model_config = ConfigDict(strict=True)

    conversation: Identifier
    turn: TurnNumber | None = None
    message_id: Identifier | None = None
    after: int = Field(default=0, ge=0)
    tenant: Identifier | None = None


class Cancel(CallerInput):
    """The running turn is cancelled, or the one of that number or message."""

    model_config = ConfigDict(strict=True)

    conversation: Identifier
    turn: TurnNumber | None = None
    message_id: Identifier | None = None
    reason: str = Field(default="", max_length=500)
    tenant: Identifier | None = None

    def of_turn(self) -> CancelTurn:
        return CancelTurn(turn=self.turn, message_id=self.message_id, reason=self.reason)


class Ping(CallerInput):
    """Is somebody there?"""


class Auth(CallerInput):
    """The key, from a client that cannot set a header."""

    model_config = ConfigDict(strict=True)

    key: str = Field(min_length=1, max_length=8192)


class _Bare(CallerInput):
    """A text instead of ``messages``."""

    model_config = ConfigDict(strict=True)

    text: Text


Message = ChatRequest | Resume | Cancel | FeedbackRequest | Ping | Auth
KINDS: Mapping[str, type[Message]] = {
    "say": ChatRequest,
    "resume": Resume,
    "cancel": Cancel,
    "feedback": FeedbackRequest,
    "ping": Ping,
    "auth": Auth,
}


@dataclass(frozen=True, slots=True)
class Given:
    """One message as it came: ``kind`` and ``ref`` are repeated in the answer, also where the rest cannot be used."""

    kind: str = ""
    ref: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def echo(self) -> dict[str, Any]:
        return {} if self.ref is None else {"ref": self.ref}


def object_of(frame: Mapping[str, Any]) -> Given:
    """A frame's object. Raises MalformedBody and InvalidRequest, as the body of a request does."""
    text = frame.get("text")
    if text is None:
        raise MalformedBody("body: is a binary frame. Send JSON in a text frame.", field="body")
    fields = parse_object(text.encode("utf-8", "surrogatepass"))
    ref, kind = fields.pop("ref", None), fields.pop("type", "say")
    if ref is not None and not (isinstance(ref, str) and len(ref) <= LONGEST_REF):
        raise InvalidRequest(f"ref: must be a text of at most {LONGEST_REF} characters.", field="ref")
    return Given(kind if isinstance(kind, str) else "", ref, fields)


def message_of(given: Given, own_conversation: Callable[[], str]) -> Message:
    """``own_conversation``: where a bare text is said that names none. Raises InvalidRequest."""
    if given.kind not in KINDS:
        raise InvalidRequest(f"type: there is no such message. There are: {', '.join(KINDS)}.", field="type")
    fields = dict(given.fields)
    if given.kind == "say" and "text" in fields and "messages" not in fields:
        text = validation.parse(_Bare, {"text": fields.pop("text")}).text
        fields["messages"] = [{"role": "user", "content": text}]
        fields.setdefault("conversation", own_conversation())
    if fields.get("stream") is False:
        raise InvalidRequest("stream: a WebSocket streams. Leave it out, or POST /v1/chat.", field="stream")
    return validation.parse(KINDS[given.kind], fields)
