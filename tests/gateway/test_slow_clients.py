"""Clients that dribble, or do not read: each costs little and stops nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dialogue.faults import ParleyFault
from gateway import problems
from gateway.json_body import read_object
from gateway.metrics import Metrics
from gateway.observed import Observed
from gateway.serve import make_server, server_options
from gateway.streaming import ReaderTooSlow, send_within
from settings.ports import free_port
from settings.schema import GatewaySettings

MEBIBYTE = 1 << 20
HEAD = b"POST / HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def serving(app: Callable[[Scope, Receive, Send], object], **settings: float) -> AsyncIterator[int]:
    """The port of a real server in this process."""
    port = free_port()
    server = make_server(app, "127.0.0.1", port, server_options(GatewaySettings(**settings)))  # type: ignore[arg-type]
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(20):
            while True:
                with suppress(OSError):
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                await asyncio.sleep(0.01)
        yield port
    finally:
        server.stop()
        await asyncio.wait_for(task, 20)


def reading(seconds: float) -> Starlette:
    async def read(request: Request) -> Response:
        return JSONResponse(await read_object(request, MEBIBYTE, seconds))

    return Starlette(
        routes=[Route("/", read, methods=["POST"])],
        middleware=[Middleware(Observed, Metrics())],
        exception_handlers={ParleyFault: problems.on_fault},
    )


async def _answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(30):
        return await reader.read()


async def test_a_head_that_dribbles_is_cut() -> None:
    """However busily the client sends: all headers are there in time, or the connection ends."""
    async with serving(reading(5), header_seconds=0.5) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ended = asyncio.create_task(_answer(reader))
        writer.write(HEAD)
        while not ended.done():
            with suppress(OSError):
                writer.write(b"X")
                await writer.drain()
            await asyncio.wait({ended}, timeout=0.05)
        assert b" 200 " not in await _outcome(ended)
        writer.close()


async def _outcome(ended: asyncio.Task[bytes]) -> bytes:
    try:
        return await ended
    except ConnectionError:
        return b""


async def test_a_body_that_dribbles_is_408() -> None:
    """With the way out, and the connection ends; a whole one is answered."""
    async with serving(reading(0.5)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b'Content-Length: 1000\r\n\r\n{"a": ')
        told = await _answer(reader)
        assert told.startswith(b"HTTP/1.1 408 ")
        assert b"body: was not there after 0.5 s. Send it whole, or set gateway.body_seconds." in told
        writer.close()
        async with httpx.AsyncClient() as client:
            assert (await client.post(f"http://127.0.0.1:{port}/", json={"a": 1})).json() == {"a": 1}


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_reader_that_takes_nothing_is_dropped(kind: str) -> None:
    """Once the system's buffers are full the stream waits for so long, and no longer; what was waiting is bounded."""
    sent, dropped = 0, asyncio.Event()

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        chunk = b"x" * 65536
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            message = {"type": "websocket.send", "bytes": chunk}
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            message = {"type": "http.response.body", "body": chunk, "more_body": True}
        try:
            while True:
                await send_within(send, message, 0.5)
                sent += len(chunk)
        except ReaderTooSlow:
            dropped.set()
            raise

    async with serving(endless) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        asked = upgrade + key if kind == "websocket" else b""
        writer.write(b"GET / HTTP/1.1\r\nHost: gateway\r\n" + asked + b"\r\n")
        await asyncio.wait_for(dropped.wait(), 60)
        assert sent < 64 * MEBIBYTE
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            await _answer(reader)  # to the end of what was under way: the server closed it
        writer.close()
