"""TLS in front of a server that speaks none: what a load balancer does before Temporal's frontend."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["tls_front"]


@asynccontextmanager
async def tls_front(target: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Its address; every connection goes on to ``target`` (host:port) in clear."""
    host, _, port = target.rpartition(":")
    context.set_alpn_protocols(["h2"])
    open_now: set[asyncio.StreamWriter] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:  # either side has gone
            pass
        finally:
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        open_now.update((writer, back))
        await asyncio.gather(carry(reader, back), carry(there, writer))
        open_now.difference_update((writer, back))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_now:
            writer.close()
