"""Server-sent events (WHATWG HTML, 9.2): a turn's events over plain HTTP, for ``EventSource`` and whoever reads lines.

Proxies are asked neither to hold nor to change the stream, and a comment goes out when nothing else does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dialogue.faults import ParleyFault
from gateway.events import TurnEvent, error_event, for_log
from gateway.pulled import Pulled
from settings.schema import GatewaySettings

__all__ = ["Encoding", "EventStream", "encode"]

HEARTBEAT = b": still here\n\n"
_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


def encode(event: TurnEvent) -> bytes:
    """One event. JSON holds no line break, so its data is one line."""
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n".encode()


class Encoding(Protocol):
    """How a turn's events are written. Nothing is sent for an event of which it gives no bytes."""

    def event(self, event: TurnEvent) -> bytes: ...

    def fault(self, id_: int, fault: ParleyFault) -> bytes:
        """The last thing: what went wrong. ``id_`` is above those of the events before."""
        ...

    def end(self) -> bytes:
        """Behind the last event."""
        ...


class _Events:
    """Each as it is."""

    def event(self, event: TurnEvent) -> bytes:
        return encode(event)

    def fault(self, id_: int, fault: ParleyFault) -> bytes:
        return encode(error_event(id_, fault))

    def end(self) -> bytes:
        return b""


class EventStream(StreamingResponse):
    """``events``, with a heartbeat whenever none came for a while. A client that leaves, or takes nothing, closes them.

    A fault is the last event: the answer's status went out before it. ``after``: the id behind which the reader goes
    on, so that one who comes back behind a fault is not sent to the beginning. ``gone`` is done once the client left;
    it is cancelled here at the end. ``noted``: what the request's log line shall hold.
    """

    def __init__(
        self,
        events: Pulled[TurnEvent],
        settings: GatewaySettings,
        encoding: Encoding | None = None,
        *,
        after: int = 0,
        gone: asyncio.Future[None] | None = None,
        noted: dict[str, Any] | None = None,
    ) -> None:
        noted = {} if noted is None else noted
        lines = _lines(events, settings.heartbeat_seconds, encoding or _Events(), after, noted)
        super().__init__(lines, media_type="text/event-stream", headers=_HEADERS)
        self._events = events
        self._gone = gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also where the reader had left before the first line was asked for
            await self._events.aclose()
            if self._gone is not None:
                self._gone.cancel()

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Who waits for that already goes on: a second ``receive`` behind a cancelled one might be told too much."""
        if self._gone is None:
            await super().listen_for_disconnect(receive)
        else:
            await asyncio.wait({self._gone})


async def _lines(
    events: Pulled[TurnEvent], heartbeat_seconds: float, encoding: Encoding, after: int, noted: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    last, clock = after, asyncio.get_running_loop().time
    due = clock() + heartbeat_seconds
    try:
        while True:
            told = HEARTBEAT
            if await events.wait(due - clock()):
                event = await events.take()
                if event is None:
                    break
                last = event.id
                noted |= for_log(event)
                told = encoding.event(event) or (HEARTBEAT if clock() >= due else b"")
            if told:
                due = clock() + heartbeat_seconds
                yield told
        if told := encoding.end():
            yield told
    except ParleyFault as fault:
        noted["fault"] = fault.type
        yield encoding.fault(last + 1, fault)
