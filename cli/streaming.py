"""Says something and shows the answer while it is made, from the token log."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.console import plain
from dialogue.faults import ParleyFault, RecordsFault, UnknownConversation
from dialogue.messages import Say, TurnKey
from dialogue.turn import Reply

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from gateway.conversations import Conversations
    from records.token_log import StreamEvent, TokenLog

__all__ = ["LiveAnswer", "say"]

_DOING = {
    "receive_input": "reading",
    "recognise_intent": "understanding",
    "retrieve_knowledge": "looking up",
    "generate_answer": "writing",
    "review_answer": "reviewing",
    "return_answer": "sending",
}
_LOOK_SECONDS = 0.05


class LiveAnswer:
    """Shows the events of one turn. ``show``: whether the tenant lets a reader see tokens before the review."""

    def __init__(self, console: Console, *, show: bool) -> None:
        self._console = console
        self._show = show
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

    def take(self, event: StreamEvent) -> None:
        """Shows one event."""
        if event.kind == "step":
            self._say(_DOING.get(str(event.data.get("step")), "working"))
        elif event.kind == "retry":
            self._withdraw()
            self._say(f"writing again: {event.data.get('why', '')}")
        elif event.kind == "retract":
            self._withdraw()
        elif event.kind == "reasoning":
            self._tokens += 1
            self._say(f"thinking · {self._tokens} pieces")
        elif event.kind == "token":
            self._token(str(event.data.get("text", "")))

    def _token(self, text: str) -> None:
        self._tokens += 1
        if not self._show:
            self._say(f"writing · {self._tokens} pieces")
            return
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
        if self.shown:
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
    conversations: Conversations, log: TokenLog, conversation: str, message: Say, live: LiveAnswer, *, fresh: bool
) -> Reply:
    """Says ``message`` and shows its turn until the reply is there. A lost log costs the showing, not the answer."""
    saying = asyncio.create_task(conversations.say(conversation, message, fresh=fresh, opened_by="cli"))
    showing = asyncio.create_task(_show(conversations, log, conversation, message, live, fresh))
    try:
        # awaited from outside: the SDK turns a cancelled wait for an update into an answer that is not there yet
        await asyncio.wait({saying})
        reply = saying.result()
        # what was written before the reply is still to be shown
        await asyncio.wait({showing}, timeout=1)
    finally:
        for task in (saying, showing):
            task.cancel()
        await asyncio.wait({saying, showing})
    if not isinstance(reply, Reply):  # not reached: no bound was given
        raise ParleyFault(f"conversation {conversation}: no answer yet")
    return reply


async def _show(
    conversations: Conversations, log: TokenLog, conversation: str, message: Say, live: LiveAnswer, fresh: bool
) -> None:
    turn = 1 if fresh else await _turn_of(conversations, conversation, message)
    key = TurnKey(conversation=conversation, turn=turn, tenant=message.tenant)
    with contextlib.suppress(RecordsFault):
        async for event in log.follow(key.stream):
            live.take(event)


async def _turn_of(conversations: Conversations, conversation: str, message: Say) -> int:
    """The number that the conversation gave this message: others may be talking in it too."""
    while True:
        with contextlib.suppress(UnknownConversation, RecordsFault):
            found = await conversations.transcript(conversation, message.tenant)
            for turn in found.turns:
                if turn.message_id == message.message_id:
                    return turn.turn
        await asyncio.sleep(_LOOK_SECONDS)
