"""A way to a server on which connections break: the first one is cut when the test says so, the others pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["CutConnections", "cut_connections"]


@dataclass
class CutConnections:
    """``cut`` ends the first connection; ``again`` tells that there is another; ``requests`` is what each brought."""

    url: str = ""
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[bytearray] = field(default_factory=list[bytearray])

    def headers(self, number: int) -> dict[str, str]:
        """Those of the first request of that connection, in lower case."""
        lines = self.requests[number].partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


@contextlib.asynccontextmanager
async def cut_connections(target: str) -> AsyncIterator[CutConnections]:
    """To the server at the URL ``target``, from a free port."""
    way = CutConnections()
    host, port = urlsplit(target).hostname, urlsplit(target).port

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        brought = bytearray()
        way.requests.append(brought)
        first = len(way.requests) == 1
        if not first:
            way.again.set()
        server_reader, server_writer = await asyncio.open_connection(host, port)
        ends = [
            asyncio.ensure_future(_pipe(reader, server_writer, brought)),
            asyncio.ensure_future(_pipe(server_reader, writer, bytearray())),
            *([asyncio.ensure_future(way.cut.wait())] if first else []),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.wait(ends)
        for each in (writer, server_writer):
            each.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield way


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65_536):
            seen += piece
            writer.write(piece)
            await writer.drain()
