"""The core follows a turn: what it began for a reader ends with the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from dialogue.messages import CancelTurn
from dialogue.turn import Reply, Transcript, TurnSummary
from gateway.access import Access
from gateway.caller import ANYONE
from gateway.core import Core, Said
from gateway.events import TurnEvent
from gateway.limits import Limits
from gateway.turn_streams import Place
from records.caller_tokens import CallerTokens
from settings.schema import Settings, TenantSettings


class _SlowToClose:
    """One event; then it takes its time to be closed."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.closed = asyncio.Event()

    async def follow(self, *_: Any) -> AsyncGenerator[TurnEvent, None]:
        try:
            yield TurnEvent(1, "accepted", {})
            await asyncio.Event().wait()
        finally:
            self.closing.set()
            await self.closed.wait()


class _LongConversation:
    """Sixty turns of which the first ten are no longer carried; the last still runs. Nothing is answered meanwhile."""

    def __init__(self) -> None:
        self.cancelled: list[str | None] = []

    async def transcript(self, conversation: str, tenant: str) -> Transcript:
        told: dict[str, Any] = {"text_digest": "", "question": "?", "answer": "", "verdict": "pass"}
        turns = [
            TurnSummary(turn=number, message_id=f"m-{number}", state="running" if number == 60 else "done", **told)
            for number in range(11, 61)
        ]
        return Transcript(conversation=conversation, tenant=tenant, older=10, turns=tuple(turns))

    async def reply(self, *_: Any) -> Reply:
        return await asyncio.Future()

    settled = reply

    async def cancel_turn(self, _: str, message: CancelTurn) -> None:
        self.cancelled.append(message.message_id)


class _OneEvent:
    """One event of any turn, and no more. Readers are told apart by nothing."""

    async def follow(self, *_: Any) -> AsyncGenerator[TurnEvent, None]:
        yield TurnEvent(1, "accepted", {})
        await asyncio.Future()

    async def came_to_read(self, _: str) -> int:
        return 1

    newest_reader = came_to_read


@pytest.mark.parametrize(("turn", "cancelled"), [(1, []), (59, []), (60, ["m-60"])])
async def test_who_leaves_a_resumed_turn_ends_it_where_it_runs(turn: int, cancelled: list[str]) -> None:
    """With on_disconnect cancel: the running one. Whoever leaves one that is done, carried or not, leaves nothing."""
    settings = Settings.model_validate(
        {"gateway": {"come_back_seconds": 0}, "tenants": {"default": {"on_disconnect": "cancel"}}}
    )
    conversations: Any = _LongConversation()
    streams: Any = _OneEvent()
    limits, access = Limits({}, settings.gateway.max_body), Access(settings)
    core = Core(conversations, settings, streams, asyncio.Event(), access, limits, CallerTokens())
    before = asyncio.all_tasks()

    said = await core.resume(ANYONE, "conv-1", turn=turn)
    async with aclosing(core.follow(said)) as events:
        await anext(events)
    left_behind = await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)

    assert [fault for fault in left_behind if isinstance(fault, Exception)] == []
    assert conversations.cancelled == cancelled


async def test_a_reader_cancelled_while_leaving_leaves_no_reply_awaited() -> None:
    streams: Any = _SlowToClose()
    settings, nobody = Settings(), Any
    limits = Limits({}, settings.gateway.max_body)
    core = Core(nobody, settings, streams, asyncio.Event(), Access(settings), limits, CallerTokens())  # type: ignore[arg-type]
    reply: Any = asyncio.ensure_future(asyncio.Event().wait())
    said = Said("default", TenantSettings(), Place("conv-1", "m-1", 1), reply, cancels=False)

    async def read() -> None:
        async with aclosing(core.follow(said)) as events:
            await anext(events)

    reading = asyncio.create_task(read())
    await streams.closing.wait()
    reading.cancel()
    await asyncio.wait({reading, reply}, timeout=10)
    streams.closed.set()
    assert reply.cancelled()
