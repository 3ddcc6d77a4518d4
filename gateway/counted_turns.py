"""A turn counts among its tenant's from when it is said until it is over, whether or not somebody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from dialogue.faults import ParleyFault
from dialogue.turn import Reply
from gateway.conversations import DIALOGUE_PREFIX, Conversations, Pending
from gateway.limits import Limits
from gateway.turn_streams import Place
from records.trace_context import current_trace
from records.tracing import span
from workflows import names

__all__ = ["CountedTurns", "Spent"]

_INVOKED = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.provider.name": "parley"}
CLOCKS_APART = 60.0
"""Seconds that a gateway's clock and those of Temporal and the token log may differ."""


@dataclass(slots=True)
class Spent:
    """What a turn cost, once its last event was read, when it was answered (seconds since the epoch), and the trace
    that it belongs to, if any."""

    tokens: int | None = None
    answered_at: float | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request's: ``name`` is the same for all that say its message, ``asked_at`` is when this one did."""

    tenant: str
    name: str
    place: Place
    asked_at: float


class CountedTurns:
    """One gateway's. ``beside`` lets work go on when its request is over."""

    def __init__(
        self,
        limits: Limits,
        conversations: Conversations,
        stopping: asyncio.Event,
        beside: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._limits = limits
        self._conversations = conversations
        self._stopping = stopping
        self._beside = beside

    async def counted(
        self, tenant: str, place: Place, saying: Coroutine[Any, Any, Reply | Pending], spent: Spent
    ) -> Reply | Pending:
        """What ``saying`` gives. Cancelled behind the last event, ``spent`` says what the turn cost.

        Raises LimitReached where the tenant has used up what it may use.
        """
        with contextlib.closing(saying):
            await self._limits.request(tenant)
            async with contextlib.AsyncExitStack() as held:
                name = f"{place.conversation}/{place.message_id}/{place.text_digest}"
                turn = _Turn(tenant, name, place, time.time())
                await held.enter_async_context(self._limits.turn(tenant, name))
                try:
                    reply = await _invoked(tenant, place, saying, spent)
                except asyncio.CancelledError:
                    if spent.tokens is None:
                        self._outlast(held, turn)
                    else:
                        await self._spend(turn, spent.tokens, spent.answered_at)
                    raise
                if isinstance(reply, Reply):
                    await self._spend(turn, reply.usage.total_tokens, reply.answered_at)
                else:
                    self._outlast(held, turn)
                return reply

    def _outlast(self, held: contextlib.AsyncExitStack, turn: _Turn) -> None:
        if self._limits.outlasts(turn.tenant) and not self._stopping.is_set():
            self._beside(self._until_over(held.pop_all(), turn))

    async def _until_over(self, held: contextlib.AsyncExitStack, turn: _Turn) -> None:
        async with held:
            awaited = self._conversations.settled(turn.place.conversation, turn.place.message_id, turn.tenant)
            settled = asyncio.ensure_future(awaited)
            stopped = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait({settled, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if settled.done():
                    with contextlib.suppress(ParleyFault):
                        reply = settled.result()
                        await self._spend(turn, reply.usage.total_tokens, reply.answered_at)
            finally:
                settled.cancel()
                stopped.cancel()

    async def _spend(self, turn: _Turn, tokens: int, answered_at: float | None) -> None:
        """Nothing for an answer that was there before it was asked for: who asked first has paid for it."""
        if answered_at is None or answered_at + CLOCKS_APART >= turn.asked_at:
            await self._limits.spend(turn.tenant, turn.name, tokens)


async def _invoked(
    tenant: str, place: Place, saying: Coroutine[Any, Any, Reply | Pending], spent: Spent
) -> Reply | Pending:
    """What ``saying`` gives, as a span of the caller's trace: no cancelled one where the turn's last event was read."""
    alone = place.conversation.startswith(DIALOGUE_PREFIX)
    workflow = names.DIALOGUE_WORKFLOW if alone else names.CONVERSATION_WORKFLOW
    whose = {"gen_ai.conversation.id": place.conversation, "parley.tenant": tenant}
    with span(f"invoke_workflow {workflow}", "client", {**_INVOKED, "gen_ai.agent.name": workflow, **whose}):
        trace = current_trace.get()
        spent.trace_id = trace.trace_id if trace else None
        try:
            return await saying
        except asyncio.CancelledError as error:
            if spent.tokens is None:
                raise
            unneeded = error
    raise unneeded
