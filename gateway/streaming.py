"""Sends to readers that may not read: a stream waits for its reader only so long."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Send

__all__ = ["ReaderTooSlow", "send_within"]


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
