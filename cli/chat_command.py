"""``parley chat``: a conversation, line by line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Tenant, User

if TYPE_CHECKING:
    from rich.console import Console

    from dialogue.turn import Reply
    from gateway.conversations import Conversations
    from gateway.turn_streams import TurnStreams
    from records.caller_tokens import CallerTokens
    from settings.schema import Settings, TenantSettings

__all__ = ["chat"]

HELP = "/why: the steps of the last turn · /new: begin anew · /quit · Ctrl-C cancels"


def chat(
    *,
    conversation: Annotated[str | None, Parameter(help="Go on with this one; else a new one.")] = None,
    tenant: Tenant = "default",
    user: User = "anonymous",
) -> int:
    """Talk in a conversation.

    /why shows the steps of the last turn, /new begins another conversation, /quit ends. Reads questions from
    standard input where that is no terminal, one a line.
    """
    from cli.connected import known_tenant
    from cli.console import output
    from settings.load import load

    settings = load()
    known_tenant(settings, tenant)
    # The loop runs while something is awaited, and the line is edited on this thread: so Ctrl-C at the prompt ends
    # the command at once, and leaves the terminal as it was.
    with asyncio.Runner() as runner:
        talk = runner.run(_open(settings, output(), tenant, user, conversation))
        try:
            return _loop(runner, talk)
        finally:
            runner.run(talk.close())


@dataclass(slots=True)
class _Talk:
    """A conversation and how it is shown."""

    console: Console
    conversations: Conversations
    streams: TurnStreams
    stack: AsyncExitStack
    callers: CallerTokens
    tenant: str
    settings: TenantSettings
    user: str
    conversation: str
    fresh: bool
    last: Reply | None = None

    def begin(self) -> None:
        from gateway.conversations import new_conversation_id

        self.conversation, self.fresh, self.last = new_conversation_id(), True, None
        self.console.print(f"conversation {self.conversation}")

    async def say(self, text: str) -> None:
        """One turn, shown as it comes."""
        from ulid import ULID

        from cli.streaming import LiveAnswer, say
        from cli.tables import reply_view
        from dialogue.messages import Say

        caller = self.callers.sign(self.tenant, self.user)
        message = Say(message_id=f"cli-{ULID()}", text=text, tenant=self.tenant, user=self.user, caller=caller)
        live = LiveAnswer(self.console)
        with live.live():
            self.last = await say(
                self.conversations, self.streams, self.settings, self.conversation, message, live, fresh=self.fresh
            )
        self.fresh = False
        self.console.print(reply_view(self.last, steps=False, answer=not live.finish(self.last)))

    async def cancel(self) -> None:
        from dialogue.faults import BadInput
        from dialogue.messages import CancelTurn

        try:
            turn = await self.conversations.cancel_turn(self.conversation, CancelTurn(tenant=self.tenant))
        except BadInput as fault:  # it was answered in the meantime, or never accepted
            self.console.print(f"        {fault.message}")
        else:
            self.fresh = False
            self.console.print(f"        turn {turn} is cancelled")

    def why(self) -> None:
        from cli.tables import reply_view

        if self.last is None:
            self.console.print("        Nothing was asked yet.")
        else:
            trace = self.conversations.trace_url(self.last.workflow_id)
            self.console.print(reply_view(self.last, trace=trace, answer=False))

    async def close(self) -> None:
        await self.stack.aclose()


async def _open(settings: Settings, console: Console, tenant: str, user: str, conversation: str | None) -> _Talk:
    from cli.connected import conversations
    from gateway.turn_streams import open_streams
    from records.caller_tokens import CallerTokens

    connected = await conversations(settings)
    if conversation is not None:
        await connected.transcript(conversation, tenant)  # one that is not ours is refused before the first question
    stack = AsyncExitStack()
    streams = await stack.enter_async_context(open_streams(settings, connected.trace_url))
    talk = _Talk(
        console,
        connected,
        streams,
        stack,
        CallerTokens.open(settings),
        tenant,
        settings.tenants[tenant],
        user,
        conversation or "",
        fresh=conversation is None,
    )
    if conversation is None:
        talk.begin()
    if sys.stdin.isatty():
        console.print(HELP, style="dim")
    return talk


def _loop(runner: asyncio.Runner, talk: _Talk) -> int:
    """Until the input ends; 1 when a question could not be answered and nobody was there to see it."""
    from dialogue.faults import ParleyFault

    failed = False
    for line in _lines():
        text = line.strip()
        if text in ("/quit", "/exit"):
            break
        if text == "/new":
            talk.begin()
        elif text == "/why":
            talk.why()
        elif text.startswith("/") and " " not in text:
            talk.console.print(f"        {HELP}")
        elif text:
            try:
                runner.run(talk.say(text))
            except KeyboardInterrupt:
                runner.run(talk.cancel())
            except ParleyFault as fault:
                print(fault.message, file=sys.stderr)
                failed = True
    return 1 if failed and not sys.stdin.isatty() else 0


def _lines() -> Iterator[str]:
    """The lines of standard input; edited, with a history, in a terminal; echoed where they are piped."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            print(f"{'you':<8}{line.rstrip()}", flush=True)
            yield line
        return
    import readline  # noqa: F401 - input() edits lines once it is imported

    while True:
        try:
            yield input(f"{'you':<8}")
        except EOFError:
            print()
            return
