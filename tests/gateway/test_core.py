"""The core follows a turn: what it began for a reader ends with the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from gateway.access import Access
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
