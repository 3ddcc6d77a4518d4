"""Says something and shows the answer while it is made, as far as the tenant's policy lets it be seen."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.console import plain
from dialogue.messages import Say, message_digest
from dialogue.turn import Reply

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from gateway.conversations import Conversations
    from gateway.events import TurnEvent
    from gateway.turn_streams import TurnStreams
    from settings.schema import TenantSettings

__all__ = ["LiveAnswer", "say"]

_DOING = {
    "receive_input": "reading",
    "recognise_intent": "understanding",
    "retrieve_knowledge": "looking up",
    "generate_answer": "writing",
    "review_answer": "reviewing",
    "return_answer": "sending",
}


class LiveAnswer:
    """Shows the events of one turn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._tokens = 0
        self.shown = ""
        """The text that stands on the screen now."""

    @contextlib.contextmanager
    def live(self) -> Iterator[LiveAnswer]:
        if not self._console.is_terminal:
            yield self
            return
        with self._console.status("sending") as self._status:
            yield self
        self._status = None

    def take(self, event: TurnEvent) -> None:
        """Shows one event."""
        if event.kind == "step":
            self._say(_DOING.get(str(event.data.get("step")), "working"))
        elif event.kind == "retry":
            self._say(f"writing again: {event.data.get('why', '')}")
        elif event.kind == "retract":
            self._withdraw()
        elif event.kind == "reasoning":
            self._tokens += 1
            self._say(f"thinking · {self._tokens} pieces")
        elif event.kind == "token":
            self._token(str(event.data.get("text", "")))

    def _token(self, text: str) -> None:
        if self._status is not None:
            self._status.stop()
        if not self.shown:
            text = text.lstrip()
            if text:
                sys.stdout.write(f"{'parley':<8}")
        sys.stdout.write(plain(text))
        sys.stdout.flush()
        self.shown += text

    def _withdraw(self) -> None:
        """What was shown of a try that is not kept."""
        if self.shown:  # reasoning alone is not shown here
            self._console.print("\n        (withdrawn)")
            self.shown = ""

    def _say(self, doing: str) -> None:
        if self._status is not None and not self.shown:
            self._status.update(doing)

    def finish(self, reply: Reply) -> bool:
        """Whether the reviewed answer stands on the screen already. Ends the line in which it was growing."""
        if not self.shown:
            return False
        sys.stdout.write("\n")
        if self.shown.strip() == reply.answer.strip():
            return True
        self._console.print("        (after review)")
        return False


async def say(
    conversations: Conversations,
    streams: TurnStreams,
    tenant: TenantSettings,
    conversation: str,
    message: Say,
    live: LiveAnswer,
    *,
    fresh: bool,
) -> Reply:
    """Says ``message`` and shows its turn until the reply is there. A lost log costs the showing, not the answer."""
    from gateway.pulled import Pulled
    from gateway.turn_streams import Place

    saying = asyncio.ensure_future(conversations.say(conversation, message, fresh=fresh, opened_by="cli"))
    place = Place(conversation, message.message_id, 1 if fresh else None, message_digest(message.text, message.files))
    events = Pulled(streams.follow(place, message.tenant, tenant, saying))
    try:
        while (event := await events.take()) is not None:
            live.take(event)
        # awaited from outside: the SDK turns a cancelled wait for an update into an answer that is not there yet
        await asyncio.wait({saying})
        return saying.result()
    finally:
        await events.aclose()
        saying.cancel()
        await asyncio.wait({saying})
