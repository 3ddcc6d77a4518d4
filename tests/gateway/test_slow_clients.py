"""Clients that dribble, or do not read: each costs little and stops nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from dialogue.faults import ParleyFault
from gateway import problems
from gateway.app import create_app
from gateway.json_body import read_object
from gateway.metrics import Metrics
from gateway.observed import Observed
from gateway.proto.parley.v1 import dialogue_pb2 as wire
from gateway.serve import make_server, server_options
from gateway.streaming import ReaderTooSlow, send_within
from gateway.turn_streams import open_streams
from settings.schema import GatewaySettings
from tests.gateway.conftest import NO_STREAMS, Front, Raising, settings_on
from tests.gateway.test_rpc import SERVICE, WEB, frame
from tests.support.ports import free_port

MEBIBYTE = 1 << 20
SECONDS = 30
CONNECT = "application/connect+json"
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


# the gateway's own addresses --------------------------------------------------------------------------


def posted(path: str, kind: str, **more: Any) -> dict[str, Any]:
    """The scope of a POST, as the server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"gateway"), (b"content-type", kind.encode())],
        "client": ("192.0.2.7", 4711),
        "server": ("127.0.0.1", 8088),
        "extensions": {},
        **more,
    }


def asked(conversation: str) -> dict[str, Any]:
    """A question whose answer stops in the middle, and ends when its reader leaves."""
    place = {"conversation": conversation, "message_id": "m-1", "tenant": "open"}
    return {"messages": [{"role": "user", "content": "slow"}], "on_disconnect": "cancel", **place}


def as_completion(said: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in said.items() if name != "messages"}
    return {"model": "default", "stream": True, "messages": said["messages"], "metadata": metadata}


STREAMED: dict[str, tuple[str, str, Callable[[dict[str, Any]], bytes]]] = {
    "rest": ("/v1/chat", "application/json", lambda said: json.dumps({**said, "stream": True}).encode()),
    "openai": ("/v1/chat/completions", "application/json", lambda said: json.dumps(as_completion(said)).encode()),
    "grpc-web": (f"{SERVICE}SayStreamed", WEB, lambda said: frame(wire.SayRequest(**said).SerializeToString())),
    "connect": (f"{SERVICE}SayStreamed", CONNECT, lambda said: frame(MessageToJson(wire.SayRequest(**said)).encode())),
}
"""Where a turn is said to be streamed: the address, the content type, and the body of what is said."""


async def takes_nothing(app: Starlette, scope: dict[str, Any], body: bytes) -> None:
    """Asks, and takes the answer's head but no byte of it, until the application gives up."""
    bodies = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(bodies, None) or await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    with pytest.raises(ReaderTooSlow):
        await asyncio.wait_for(app(scope, receive, send), SECONDS)


async def test_on_each_transport_a_reader_that_takes_nothing_has_left(front: Front) -> None:
    """They are dropped, and the turn is ended as for whoever closes their connection; also of one who resumes."""
    changed = front.settings.gateway.model_copy(update={"reader_seconds": 0.05, "come_back_seconds": 0})
    settings = front.settings.model_copy(update={"gateway": changed})
    async with open_streams(settings, front.conversations.trace_url) as streams:
        app = create_app(front.conversations, settings, streams)

        async def dropped(path: str, kind: str, written: Callable[[dict[str, Any]], bytes]) -> str:
            conversation = front.new()
            await takes_nothing(app, posted(path, kind), written(asked(conversation)))
            verdict = (await front.conversations.settled(conversation, "m-1", "open")).verdict
            resumed = wire.ResumeRequest(conversation=conversation, turn=1, tenant="open").SerializeToString()
            await takes_nothing(app, posted(f"{SERVICE}Resume", WEB), frame(resumed))
            again = posted(f"/v1/chat/{conversation}/stream", kind, method="GET", query_string=b"turn=1&tenant=open")
            await takes_nothing(app, again, b"")
            return verdict

        async with asyncio.timeout(SECONDS):
            verdicts = await asyncio.gather(*(dropped(*way) for way in STREAMED.values()))
    assert dict(zip(STREAMED, verdicts, strict=True)) == dict.fromkeys(STREAMED, "cancelled")


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/completions", f"{SERVICE}Say"])
async def test_at_each_address_a_body_that_never_ends_is_408(raising: Raising, path: str) -> None:
    """Nobody else is asked anything, and the connection ends."""
    app = create_app(raising, settings_on("nowhere", body_seconds=0.2), NO_STREAMS)  # type: ignore[arg-type]
    beginnings = iter([{"type": "http.request", "body": b'{"messages"', "more_body": True}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(beginnings, None) or await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Message) -> None:
        sent.append(message)

    await asyncio.wait_for(app(posted(path, "application/json"), receive, send), SECONDS)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"gateway.body_seconds" in b"".join(each.get("body", b"") for each in sent[1:])
