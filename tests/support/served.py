"""An ASGI application behind the real server, on a free port, for tests that need real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import ASGIApp

from tests.support.ports import free_port

__all__ = ["listening", "served"]

SECONDS = 10.0


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """Gives the port. The server's stop waits for open connections, and is not waited for longer than it may take."""
    port = free_port()
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_level=LogLevels.error)
    serving = asyncio.create_task(server.serve())
    try:
        await listening(port)
        yield port
    finally:
        server.stop()
        await asyncio.wait_for(serving, SECONDS)


async def listening(port: int, *, seconds: float = SECONDS) -> None:
    """Until something does at ``port``. A server has no event for it, so it is knocked at."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            writer.close()
            return
