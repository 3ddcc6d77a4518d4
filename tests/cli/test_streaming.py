"""An answer while it is made, as a chat shows it."""

import asyncio
import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from cli.streaming import LiveAnswer, say
from dialogue.faults import ConversationClosed, TokenLogUnavailable
from dialogue.messages import Say, text_digest
from gateway.turn_streams import TurnStreams
from records.token_log import StreamEvent
from settings.schema import TenantSettings
from tests.cli.test_tables import reply

SAY = Say(message_id="m", text="?")


def event(number: int, kind: str, **data: object) -> StreamEvent:
    return StreamEvent(number, kind, data, 0.0)


ACCEPTED = event(1, "accepted", turn=7, tenant="default", text_digest=text_digest("?"))
ANSWER = [
    event(1, "step", step="generate_answer", attempt=1),
    event(2, "token", text=" You have"),
    event(3, "token", text=" 30 days. [1]"),
    event(4, "final", answer="You have 30 days. [1]", verdict="pass"),
]
OPEN, REVIEWED = TenantSettings(stream="open"), TenantSettings()


class Log:
    """A token log that holds these events, and which turn the message became; a faulty one fails instead."""

    def __init__(self, *events: StreamEvent, faulty: bool = False) -> None:
        self.events, self.faulty, self.streams = events, faulty, []

    async def follow(self, stream: str, *, until_kinds: Sequence[str]):
        self.streams.append(stream)
        if self.faulty:
            raise TokenLogUnavailable("the log is full")
        for each in [ACCEPTED] if "/m/" in stream else self.events:
            yield each


class Talked:
    """Conversations that answer with turn ``turn``, or refuse with ``fault``."""

    def __init__(self, turn: int = 1, fault: Exception | None = None) -> None:
        self.turn, self.fault = turn, fault

    async def say(self, conversation: str, message: Say, *, fresh: bool, opened_by: str):
        if self.fault:
            raise self.fault
        await asyncio.sleep(0)
        return reply(turn=self.turn)


def live() -> LiveAnswer:
    return LiveAnswer(Console(file=io.StringIO(), width=80))


async def said(log: Log, shown: LiveAnswer, tenant: TenantSettings = OPEN, *, talked: Talked | None = None, fresh=True):
    streams = TurnStreams(log, {}, lambda workflow, run: "")
    return await say(talked or Talked(), streams, tenant, "conv-1", SAY, shown, fresh=fresh)


async def test_an_open_tenant_sees_the_tokens(capsys):
    """They grow on one line; the reviewed answer that is the same is not printed twice."""
    log, shown = Log(*ANSWER), live()
    answer = await said(log, shown)
    assert shown.finish(answer)
    assert capsys.readouterr().out == "parley  You have 30 days. [1]\n"
    assert log.streams == ["conv-1/0001"]


async def test_nothing_is_shown_before_the_review_where_the_tenant_wants_that(capsys):
    """The tokens are in the log, and stay there: the answer comes whole."""
    shown = live()
    draft = [event(1, "token", text="A draft"), event(2, "final", answer="You have 30 days. [1]", verdict="pass")]
    answer = await said(Log(*draft), shown, REVIEWED)
    assert shown.finish(answer)
    assert capsys.readouterr().out == "parley  You have 30 days. [1]\n"


async def test_a_withdrawn_try_is_marked_and_the_next_one_begins_anew(capsys):
    """What was shown of it does not count as the answer."""
    shown = live()
    first = [event(1, "token", text="I I I"), event(2, "retry", **{"try": 2, "why": "repetition"})]
    again = [*first, *(event(each.id + 2, each.kind, **each.data) for each in ANSWER)]
    answer = await said(Log(*again), shown)
    assert shown.shown.strip() == "You have 30 days. [1]"
    assert shown.finish(answer)
    assert "(withdrawn)" in shown._console.file.getvalue()


async def test_an_answer_changed_by_the_review_is_shown_again():
    """The tokens on the screen are not what was returned."""
    shown = live()
    tokens = [event(1, "token", text="Call 13812345678."), event(2, "final", answer="Call.", verdict="pass")]
    answer = await said(Log(*tokens), shown)
    assert not shown.finish(answer)
    assert "(after review)" in shown._console.file.getvalue()


async def test_the_turn_is_the_one_that_the_conversation_gave_the_message():
    """Others may talk in it too: the number is looked up by the message's id, never guessed."""
    log = Log(*ANSWER)
    await said(log, live(), talked=Talked(turn=7), fresh=False)
    assert log.streams == ["conv-1/m/m", "conv-1/0007"]


async def test_a_lost_log_costs_the_showing_and_not_the_answer():
    """The reply still comes, and nothing is left running."""
    before = asyncio.all_tasks()
    shown = live()
    answer = await said(Log(faulty=True), shown)
    assert answer.answer == "You have 30 days. [1]"
    assert not shown.finish(answer)
    assert asyncio.all_tasks() == before


async def test_a_refused_message_raises_its_fault():
    """And the watching of its turn ends."""
    before = asyncio.all_tasks()
    try:
        await said(Log(), live(), talked=Talked(fault=ConversationClosed("closed")), fresh=False)
    except ConversationClosed:
        assert asyncio.all_tasks() == before
    else:
        raise AssertionError("nothing was raised")


async def test_ctrl_c_while_it_is_answered_is_not_lost():
    """The SDK swallows the cancelling of a wait for an update; whoever waits here is cancelled all the same."""

    class Swallows(Talked):
        async def say(self, conversation: str, message: Say, *, fresh: bool, opened_by: str):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

    before = asyncio.all_tasks()
    task = asyncio.create_task(said(Log(), live(), talked=Swallows()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
