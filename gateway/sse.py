"""Server-sent events (WHATWG HTML, 9.2): a turn's events over plain HTTP, for ``EventSource`` and whoever reads lines.

Proxies are asked neither to hold nor to change the stream, and a comment goes out when nothing else does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from starlette.responses import StreamingResponse

from dialogue.faults import ParleyFault
from gateway.events import TurnEvent, error_event
from gateway.pulled import Pulled

__all__ = ["EventStream", "encode"]

HEARTBEAT = b": still here\n\n"
_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}


def encode(event: TurnEvent) -> bytes:
    """One event. JSON holds no line break, so its data is one line."""
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n".encode()


class EventStream(StreamingResponse):
    """``events`` with a heartbeat whenever there was none for ``heartbeat_seconds``. A client that leaves closes them.

    A fault is the last event: the answer's status went out before it.
    """

    def __init__(self, events: Pulled[TurnEvent], heartbeat_seconds: float) -> None:
        super().__init__(_lines(events, heartbeat_seconds), media_type="text/event-stream", headers=_HEADERS)


async def _lines(events: Pulled[TurnEvent], heartbeat_seconds: float) -> AsyncGenerator[bytes, None]:
    last = 0
    try:
        while True:
            if not await events.wait(heartbeat_seconds):
                yield HEARTBEAT
                continue
            event = await events.take()
            if event is None:
                return
            last = event.id
            yield encode(event)
    except ParleyFault as fault:
        yield encode(error_event(last + 1, fault))
    finally:
        await events.aclose()
