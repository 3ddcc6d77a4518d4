"""``parley demo``: everything started, and a conversation of three turns held with it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from settings.schema import Settings

__all__ = ["QUESTIONS", "demo"]

QUESTIONS = (
    "How long do I have to send back shoes I bought online?",
    "今天北京的天气怎么样?",
    "你们这些傻瓜!我的手机号是13812345678。网上买的鞋子,多少天内可以退货?",
)
"""One the knowledge base answers, one out of scope, one with a phone number and a word that is masked."""


SEED = 7
"""So that a demo reads alike each time: with a seed, an answer does not depend on what else is in the batch."""


async def demo() -> None:
    """Start everything and hold a conversation of three turns.

    In a terminal it then stays up for `parley chat` until Ctrl-C. Where `parley up` runs already, that is used.
    """
    from cli.console import output
    from cli.interrupts import until_told_to_stop
    from cli.running import running
    from cli.stack import bring_up
    from settings.layout import Layout
    from settings.load import load

    settings, console = load(), output()
    if (already := running(Layout.of(settings).run)) is not None:
        console.print(f"parley up runs already (pid {already.pid}, {already.gateway}): it is used.")
        await _converse(settings, console)
        return
    with until_told_to_stop():
        async with bring_up(settings, console) as up:
            await _converse(settings, console)
            if sys.stdin.isatty() and sys.stdout.isatty():
                console.print(
                    f"Everything stays up: talk at {up.running.gateway}/ or with `parley chat` in another terminal.\n"
                    "Ctrl-C stops it."
                )
                await asyncio.Event().wait()
    console.print("Everything is stopped.")


async def _converse(settings: Settings, console: Console) -> None:
    from ulid import ULID

    from cli.connected import caller_token, conversations
    from cli.stages import working
    from cli.tables import reply_view, said
    from dialogue.faults import ParleyFault
    from dialogue.messages import ANONYMOUS, Say
    from dialogue.turn import Reply
    from gateway.conversations import new_conversation_id

    connected = await conversations(settings)
    conversation = new_conversation_id()
    for number, question in enumerate(QUESTIONS):
        console.print()
        console.print(said("you", question))
        caller = caller_token(settings, "default", ANONYMOUS)
        message = Say(message_id=f"demo-{ULID()}", text=question, seed=SEED, caller=caller)
        with working(console, "answering"):
            reply = await connected.say(conversation, message, fresh=number == 0, opened_by="demo")
        if not isinstance(reply, Reply):  # not reached: no bound was given
            raise ParleyFault(f"conversation {conversation}: no answer yet")
        trace = connected.trace_url(reply.workflow_id)
        console.print(reply_view(reply, trace=trace))
    _say_what_it_is(settings, console)


def _say_what_it_is(settings: Settings, console: Console) -> None:
    """A stand-in must not be taken for the model that people came for."""
    if not settings.model.source.startswith("wheel:"):
        return
    languages = " and ".join({"en": "English", "zh": "Chinese"}.get(each, each) for each in settings.model.languages)
    console.print(
        f"\nThis was {settings.model.name}: a small stand-in that knows {languages} only, and no R1. Asked\n"
        "in another language, the turn quotes its passages. These two lines under `model:` in temporal.yaml\n"
        "put a real R1 distill in its place (then say its `name` and `languages` too):\n"
        "  source: /models/DeepSeek-R1-Distill-Qwen-7B\n"
        "  reasoning: r1\n"
    )
