"""Follows a turn: its events from the token log, as its tenant may see them, to its reply.

The log costs the stream and never the answer: where it is full, lost or late, the reply itself ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from dialogue.faults import RecordsFault
from dialogue.messages import TurnKey, message_stream
from dialogue.turn import Reply
from gateway.events import TurnEvent, final_event
from gateway.pulled import Pulled
from gateway.shown import Gate, Shown
from policy.policy import Policy
from policy.stream_gate import StreamGate
from records.open_token_log import open_token_log
from records.token_log import StreamEvent, TokenLog
from settings.layout import Layout
from settings.schema import Settings, TenantSettings

if TYPE_CHECKING:
    from records.data_keys import DataKeys

__all__ = ["Place", "TurnStreams", "open_streams"]

LATE_SECONDS = 2.0
"""How long the log's last event may come after the reply, which is sent after it was written."""
QUIET_SECONDS = 0.2
"""How long the log must be quiet once the turn waits for a person: then no more is to come."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message's turn is. ``turn`` is ``None`` while only the conversation knows which one it becomes;
    ``text_digest`` tells whether a turn that is there already is this message's, or of another under the same id."""

    conversation: str
    message_id: str
    turn: int | None
    text_digest: str = ""


class TurnStreams:
    """``policies`` by name: those of the tenants whose streams are gated. ``trace_url`` makes a run's link."""

    def __init__(
        self,
        token_log: TokenLog,
        policies: Mapping[str, Policy],
        trace_url: Callable[[str, str | None], str],
    ) -> None:
        self._log = token_log
        self._policies = policies
        self._trace_url = trace_url

    async def follow(
        self, place: Place, tenant: str, settings: TenantSettings, reply: asyncio.Future[Reply], after: int = 0
    ) -> AsyncGenerator[TurnEvent, None]:
        """The turn's events with an id above ``after``, to the last one, which is ``final``.

        ``reply`` is the turn's, as soon as it is answered or waits for a person; it is awaited and not cancelled.
        Raises the fault that it holds. Whoever stops earlier closes the generator.
        """
        shown = self._shown(settings)
        last = after
        async with contextlib.aclosing(self._logged(place, tenant, reply)) as logged:
            async for event in logged:
                for told in shown.take(event):
                    if told.id > last:
                        last = told.id
                        yield told
                if event.kind == "final":
                    return
        answered = await asyncio.shield(reply)
        if not shown.stands(answered.verdict):
            last += 1
            yield TurnEvent(last, "retract", {"why": answered.verdict})
        yield final_event(last + 1, answered, self._trace_url(answered.workflow_id, answered.run_id))

    async def came_to_read(self, stream: str) -> int:
        """Notes that a reader came to ``stream``, on whatever gateway. Gives a number; 0 where it is lost."""
        with contextlib.suppress(RecordsFault):
            return await self._log.publish(_readers(stream), "accepted", {})
        return 0

    async def newest_reader(self, stream: str) -> int:
        """The number of the last reader who came to ``stream``; 0 where none did."""
        with contextlib.suppress(RecordsFault):
            came = await self._log.read(_readers(stream))
            return came[-1].id if came else 0
        return 0

    def _shown(self, settings: TenantSettings) -> Shown:
        def new_gate() -> Gate:
            return StreamGate(self._policies[settings.policy])

        return Shown(settings.stream, new_gate, self._trace_url)

    async def _logged(
        self, place: Place, tenant: str, reply: asyncio.Future[Reply]
    ) -> AsyncGenerator[StreamEvent, None]:
        """What the log holds of the turn, to its final event; less where the log fails or the turn goes no further."""
        turn = place.turn or await self._turn(place, tenant, reply)
        if turn is None:
            return
        stream = TurnKey(conversation=place.conversation, turn=turn, tenant=tenant).stream
        following = self._log.follow(stream, until_kinds=("final",))
        async with contextlib.aclosing(_until_settled(following, reply, if_failed=LATE_SECONDS)) as events:
            try:
                async for event in events:
                    yield event
            except RecordsFault as fault:
                log.warning("stream lost", fault=fault.type, reason=fault.message, conversation=place.conversation)

    async def _turn(self, place: Place, tenant: str, reply: asyncio.Future[Reply]) -> int | None:
        """Which turn the message became; ``None`` when that is told by the reply alone, or not at all.

        Another tenant's message under the same id is not this one, were it the same word for word: whoever guesses both
        would be shown its answer before the conversation refuses them.
        """
        own = (tenant, place.text_digest)
        pointer = self._log.follow(message_stream(place.conversation, place.message_id), until_kinds=("accepted",))
        async with contextlib.aclosing(_until_settled(pointer, reply, if_failed=0)) as events:
            with contextlib.suppress(RecordsFault):
                async for event in events:
                    if (event.data.get("tenant"), event.data["text_digest"]) == own:
                        return int(event.data["turn"])
        return None


@contextlib.asynccontextmanager
async def open_streams(
    settings: Settings, trace_url: Callable[[str, str | None], str], keys: DataKeys | None = None
) -> AsyncIterator[TurnStreams]:
    """Those of a site, as ``temporal.yaml`` has it. Raises PolicyFault and TokenLogUnavailable."""
    gated = {tenant.policy for tenant in settings.tenants.values() if tenant.stream == "gated"}
    root = settings.resolve(Path())
    policies = {name: await asyncio.to_thread(Policy.build, settings.policies[name], root) for name in gated}
    token_log = open_token_log(settings.records, Layout.of(settings), keys)
    try:
        yield TurnStreams(token_log, policies, trace_url)
    finally:
        await token_log.close()


def _readers(stream: str) -> str:
    return f"{stream}/readers"


async def _until_settled(
    events: AsyncGenerator[StreamEvent, None], reply: asyncio.Future[Reply], *, if_failed: float
) -> AsyncGenerator[StreamEvent, None]:
    """``events``, until the reply is there and nothing more comes. ``if_failed``: how long they may be quiet once the
    reply has failed."""
    pulled, settled = Pulled(events), False

    def settle(_: object) -> None:
        nonlocal settled
        settled = True
        pulled.nudge()

    reply.add_done_callback(settle)
    try:
        while True:
            seconds = _quiet(reply, if_failed) if settled else None
            if await pulled.wait(seconds):
                event = await pulled.take()
                if event is None:
                    return
                yield event
            elif seconds is not None:
                return
    finally:
        reply.remove_done_callback(settle)
        await pulled.aclose()


def _quiet(reply: asyncio.Future[Reply], if_failed: float) -> float:
    """How long the log may be quiet behind such a reply before no more is expected of it."""
    if reply.cancelled() or reply.exception() is not None:
        return if_failed
    return LATE_SECONDS if reply.result().state == "done" else QUIET_SECONDS
