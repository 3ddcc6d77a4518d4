"""A turn counts among its tenant's from when it is said until it is over, whether or not somebody waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from dialogue.faults import ParleyFault
from dialogue.turn import Reply
from gateway.conversations import DIALOGUE_PREFIX, Conversations, Pending
from gateway.limits import Limits
from gateway.turn_streams import Place
from records.tracing import span
from workflows import names

__all__ = ["CountedTurns", "Spent"]

_INVOKED = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.provider.name": "parley"}
TURNS_KNOWN = 1000
"""Of the newest turns it is known that their tokens were counted."""


@dataclass(slots=True)
class Spent:
    """What a turn cost, once its last event was read."""

    tokens: int | None = None


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
        self._known: dict[str, None] = {}

    async def counted(
        self, tenant: str, place: Place, saying: Coroutine[Any, Any, Reply | Pending], spent: Spent
    ) -> Reply | Pending:
        """What ``saying`` gives. Cancelled behind the last event, ``spent`` says what the turn cost.

        Raises LimitReached where the tenant has used up what it may use.
        """
        with contextlib.closing(saying):
            await self._limits.request(tenant)
            async with contextlib.AsyncExitStack() as held:
                turn = f"{place.conversation}/{place.message_id}/{place.text_digest}"
                await held.enter_async_context(self._limits.turn(tenant, turn))
                try:
                    reply = await _invoked(tenant, place, saying)
                except asyncio.CancelledError:
                    if spent.tokens is None:
                        self._outlast(held, tenant, turn, place)
                    else:
                        await self._spend(tenant, turn, spent.tokens)
                    raise
                if isinstance(reply, Reply):
                    await self._spend(tenant, turn, reply.usage.total_tokens)
                else:
                    self._outlast(held, tenant, turn, place)
                return reply

    def _outlast(self, held: contextlib.AsyncExitStack, tenant: str, turn: str, place: Place) -> None:
        if self._limits.outlasts(tenant) and not self._stopping.is_set():
            self._beside(self._until_over(held.pop_all(), tenant, turn, place))

    async def _until_over(self, held: contextlib.AsyncExitStack, tenant: str, turn: str, place: Place) -> None:
        async with held:
            settled = asyncio.ensure_future(self._conversations.settled(place.conversation, place.message_id, tenant))
            stopped = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait({settled, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if settled.done():
                    with contextlib.suppress(ParleyFault):
                        await self._spend(tenant, turn, settled.result().usage.total_tokens)
            finally:
                settled.cancel()
                stopped.cancel()

    async def _spend(self, tenant: str, turn: str, tokens: int) -> None:
        """Once a turn, however often its message was said."""
        if turn not in self._known:
            self._known[turn] = None
            if len(self._known) > TURNS_KNOWN:
                del self._known[next(iter(self._known))]
            await self._limits.spend(tenant, tokens)


async def _invoked(tenant: str, place: Place, saying: Coroutine[Any, Any, Reply | Pending]) -> Reply | Pending:
    """What ``saying`` gives, as a span of the caller's trace."""
    alone = place.conversation.startswith(DIALOGUE_PREFIX)
    workflow = names.DIALOGUE_WORKFLOW if alone else names.CONVERSATION_WORKFLOW
    with span(f"invoke_workflow {workflow}", "client", {**_INVOKED, "gen_ai.agent.name": workflow}) as told:
        reply = await saying
        told.note({"gen_ai.conversation.id": reply.conversation, "parley.tenant": tenant})
        return reply
