"""An answer while it is made, as a chat shows it."""

import asyncio
import io

import pytest
from rich.console import Console

from cli.streaming import LiveAnswer, say
from dialogue.faults import ConversationClosed, TokenLogUnavailable, UnknownConversation
from dialogue.messages import Say
from dialogue.turn import Transcript, TurnSummary
from records.token_log import StreamEvent
from tests.cli.test_tables import reply

SAY = Say(message_id="m", text="?")


def event(number: int, kind: str, **data: object) -> StreamEvent:
    return StreamEvent(number, kind, data, 0.0)


ANSWER = [
    event(1, "step", step="generate_answer", attempt=1),
    event(2, "token", text=" You have"),
    event(3, "token", text=" 30 days. [1]"),
    event(4, "final", answer="You have 30 days. [1]"),
]


class Log:
    """A token log that holds these events; a faulty one fails instead."""

    def __init__(self, *events: StreamEvent, faulty: bool = False) -> None:
        self.events, self.faulty, self.streams = events, faulty, []

    async def follow(self, stream: str):
        self.streams.append(stream)
        if self.faulty:
            raise TokenLogUnavailable("the log is full")
        for each in self.events:
            yield each


class Talked:
    """Conversations in which a message becomes turn ``turn``; its reply comes once it was looked for."""

    def __init__(self, turn: int = 1, fault: Exception | None = None) -> None:
        self.turn, self.fault, self.looked, self.asked = turn, fault, 0, asyncio.Event()

    async def say(self, conversation: str, message: Say, *, fresh: bool, opened_by: str):
        if self.fault:
            raise self.fault
        if not fresh:
            await self.asked.wait()
        await asyncio.sleep(0)
        return reply(turn=self.turn)

    async def transcript(self, conversation: str, tenant: str) -> Transcript:
        self.looked += 1
        if self.looked == 1:
            raise UnknownConversation("not there yet")
        self.asked.set()
        summaries = [
            TurnSummary(turn=number, message_id=id_, text_digest="d", question="?", answer="", verdict="pass")
            for number, id_ in ((self.turn - 1, "another"), (self.turn, "m"))
        ]
        return Transcript(conversation=conversation, tenant=tenant, turns=tuple(summaries))


def live(*, show: bool) -> LiveAnswer:
    return LiveAnswer(Console(file=io.StringIO(), width=80), show=show)


async def test_an_open_tenant_sees_the_tokens(capsys):
    """They grow on one line; the reviewed answer that is the same is not printed twice."""
    log, shown = Log(*ANSWER), live(show=True)
    answer = await say(Talked(), log, "conv-1", SAY, shown, fresh=True)
    assert shown.finish(answer)
    assert capsys.readouterr().out == "parley  You have 30 days. [1]\n"
    assert log.streams == ["conv-1/0001"]


async def test_nothing_is_shown_before_the_review_where_the_tenant_wants_that(capsys):
    """The tokens are in the log, and stay there."""
    shown = live(show=False)
    answer = await say(Talked(), Log(*ANSWER), "conv-1", SAY, shown, fresh=True)
    assert not shown.finish(answer)
    assert capsys.readouterr().out == ""


async def test_a_withdrawn_try_is_marked_and_the_next_one_begins_anew(capsys):
    """What was shown of it does not count as the answer."""
    shown = live(show=True)
    again = [event(1, "token", text="I I I"), event(2, "retry", **{"try": 2, "why": "repetition"}), *ANSWER]
    answer = await say(Talked(), Log(*again), "conv-1", SAY, shown, fresh=True)
    assert shown.shown.strip() == "You have 30 days. [1]"
    assert shown.finish(answer)
    assert "(withdrawn)" in shown._console.file.getvalue()


async def test_an_answer_changed_by_the_review_is_shown_again():
    """The tokens on the screen are not what was returned."""
    shown = live(show=True)
    tokens = [event(1, "token", text="Call 13812345678."), event(2, "final")]
    answer = await say(Talked(), Log(*tokens), "conv-1", SAY, shown, fresh=True)
    assert not shown.finish(answer)
    assert "(after review)" in shown._console.file.getvalue()


async def test_the_turn_is_the_one_that_the_conversation_gave_the_message():
    """Others may talk in it too: the number is looked up by the message's id, never guessed."""
    log = Log(*ANSWER)
    await say(Talked(turn=7), log, "conv-1", SAY, live(show=True), fresh=False)
    assert log.streams == ["conv-1/0007"]


async def test_a_lost_log_costs_the_showing_and_not_the_answer():
    """The reply still comes, and nothing is left running."""
    before = asyncio.all_tasks()
    shown = live(show=True)
    answer = await say(Talked(), Log(faulty=True), "conv-1", SAY, shown, fresh=True)
    assert answer.answer == "You have 30 days. [1]"
    assert not shown.finish(answer)
    assert asyncio.all_tasks() == before


async def test_a_refused_message_raises_its_fault():
    """And the watching of its turn ends."""
    before = asyncio.all_tasks()
    try:
        await say(Talked(fault=ConversationClosed("closed")), Log(), "conv-1", SAY, live(show=True), fresh=False)
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
    task = asyncio.create_task(say(Swallows(), Log(*ANSWER), "conv-1", SAY, live(show=False), fresh=True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
