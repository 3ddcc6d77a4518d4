"""What a ``Say`` asks over gRPC-Web and Connect: the HTTP API's fields, but the files stand beside a message's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from dialogue.messages import TextFile
from gateway import validation
from gateway.message_content import Content
from gateway.wire import MOST_MESSAGES, ChatRequest, SaidMessage

__all__ = ["chat_request"]


class _Message(SaidMessage):
    files: list[TextFile] = Field(default=[])

    def joined(self) -> SaidMessage:
        return SaidMessage(role=self.role, content=Content(self.content.text, tuple(self.files)))


class _SayRequest(ChatRequest):
    messages: Annotated[list[_Message], Field(min_length=1, max_length=MOST_MESSAGES)]  # pyright: ignore[reportIncompatibleVariableOverride] it is frozen


def chat_request(fields: Mapping[str, Any]) -> ChatRequest:
    """What ``fields``, the message's own, ask for. Raises InvalidRequest."""
    sent = validation.parse(_SayRequest, fields)
    return ChatRequest(
        messages=[message.joined() for message in sent.messages],
        **sent.model_dump(exclude={"messages"}, exclude_unset=True),
    )
