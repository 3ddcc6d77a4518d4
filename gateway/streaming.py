"""Sends to readers that may not read: an answer waits for its reader only so long."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ReaderTimeout", "ReaderTooSlow", "send_within"]


class ReaderTooSlow(ConnectionError):
    """The reader took no byte in time. Let it out of the endpoint, and the server drops the connection."""


async def send_within(send: Send, message: Message, seconds: float) -> None:
    """Sends ``message``. Raises ReaderTooSlow where the reader does not take it within ``seconds``.

    The server's ``send`` returns when the bytes have a place to wait in, and blocks while the buffers between it and
    the reader (the system's own, some megabytes on a fast network) are full.
    """
    try:
        async with asyncio.timeout(seconds):
            await send(message)
    except TimeoutError:
        raise ReaderTooSlow(f"the reader took nothing for {seconds:g} s") from None


class ReaderTimeout:
    """Middleware: whatever endpoint answers, ours or a library's, each piece of its answer is taken within ``seconds``,
    or the reader is dropped. A WebSocket, whose turns wait for one another, has this bound of its own."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def within(message: Message) -> None:
            await send_within(send, message, self.seconds)

        await self.app(scope, receive, within if scope["type"] == "http" else send)
