"""What the conformance suite asks of a transport. A transport joins it with one driver, named in ``drivers.py``."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dialogue.messages import TextFile

__all__ = ["ANSWERS", "EVENTS", "TRANSCRIPTS", "Driver", "Got", "Refused", "user_message"]

ANSWERS = frozenset({"answers"})
"""Can do :meth:`Driver.whole` and :meth:`Driver.streamed`, with ``token``, ``final`` and their texts."""
EVENTS = ANSWERS | {"events"}
"""Tells every event with its id, resumes behind any, cancels, and takes feedback."""
TRANSCRIPTS = EVENTS | {"transcripts"}
"""Reads transcripts too."""


@dataclass(frozen=True, slots=True)
class Got:
    """An event as the client got it. ``raw``: the bytes that carried it, which a reader who resumes gets again."""

    id: int
    kind: str
    data: dict[str, Any]
    raw: bytes


class Refused(Exception):
    """The gateway said no: with an HTTP status (or the transport's own word for it) and one line."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


def user_message(content: str, files: Sequence[TextFile] = ()) -> dict[str, Any]:
    """As JSON has it: with files, a list of parts."""
    if not files:
        return {"role": "user", "content": content}
    parts = [{"type": "file", "file": {"filename": file.name, "file_data": _data_of(file.text)}} for file in files]
    return {"role": "user", "content": [{"type": "text", "text": content}, *parts]}


def _data_of(text: str) -> str:
    return f"data:text/plain;base64,{base64.b64encode(text.encode()).decode()}"


class Driver(Protocol):
    """A client of the gateway that listens on ``port`` of 127.0.0.1.

    ``content`` is one user message; ``fields`` are those of ``POST /v1/chat`` beside ``messages``, and the message's
    ``files``. Whatever the gateway refuses is raised as :class:`Refused`, also where it comes as the stream's last
    event. Closing a generator is leaving in the middle: the connection is closed, without a word where the transport
    has none.
    """

    can: frozenset[str]

    def __init__(self, port: int) -> None: ...

    async def whole(self, content: str, **fields: Any) -> dict[str, Any]:
        """The reply: ``answer``, ``verdict``, ``state``, ``conversation``, ``turn``, ``message_id`` at least."""
        ...

    def streamed(self, content: str, **fields: Any) -> AsyncGenerator[Got, None]:
        """The turn's events, to the last one, ``final``, whose data is what :meth:`whole` gives."""
        ...

    def resumed(self, conversation: str, *, after: int = 0, **place: Any) -> AsyncGenerator[Got, None]:
        """Those behind ``after``; ``place`` is turn or message_id, and tenant."""
        ...

    async def cancel(self, conversation: str, **place: Any) -> int:
        """The number of the turn that was cancelled."""
        ...

    async def feedback(self, conversation: str, turn: int, score: int, **more: Any) -> None:
        """``more`` is comment, user and tenant."""
        ...

    async def transcript(self, conversation: str, **place: Any) -> dict[str, Any]: ...
