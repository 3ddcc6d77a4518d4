"""Raw clients of the four streaming transports: they keep what came and when, and are read when all is over.

Nothing is parsed while it flows, so that a client costs the machine as little as a client may.
"""

from __future__ import annotations

import asyncio
import base64
import bisect
import itertools
import json
import os
import re
import struct
import time
from collections.abc import Iterator

from benchmarks.rpc_bytes import HOST, framed, head
from gateway.proto.parley.v1 import dialogue_pb2 as wire

__all__ = ["QUESTION", "TRANSPORTS", "Reader", "read_from"]

QUESTION = "How long do I have to send something back?"
TRANSPORTS = ("server-sent events", "WebSocket", "gRPC-Web", "OpenAI")
FINAL = b'"type":"final"'
"""What a WebSocket ends with: the server keeps it open."""


class Reader(asyncio.Protocol):
    """Says one message and keeps what comes. ``ended`` is set when the stream is over."""

    def __init__(self, request: bytes, frame: bytes = b"") -> None:
        self._request = request
        self._frame = frame
        self._socket = bool(frame)
        self._transport: asyncio.Transport | None = None
        self._chunks: list[tuple[float, bytes]] = []
        self.sent = 0.0
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.sent = time.time()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._chunks.append((time.time(), data))
        if self._frame and self._transport:  # the handshake is answered
            self._transport.write(self._frame)
            self._frame = b""
            return
        self.begun.set()
        if self._socket and self._transport and FINAL in data:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.begun.set()
        self.ended.set()

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self._chunks)

    def matches(self, pattern: bytes) -> Iterator[tuple[re.Match[bytes], float]]:
        """Each place with the time at which its last byte was there."""
        ends = list(itertools.accumulate(len(data) for _, data in self._chunks))
        for match in re.finditer(pattern, self.text):
            yield match, self._chunks[bisect.bisect_left(ends, match.end())][0]


async def read_from(port: int, transport: str, conversation: str, tenant: str, message_id: str = "m-1") -> Reader:
    """Says :data:`QUESTION` over that transport and gives the one who reads the answer."""
    place = {"conversation": conversation, "message_id": message_id, "tenant": tenant}
    reader = Reader(*_asked(transport, place))
    await asyncio.get_running_loop().create_connection(lambda: reader, HOST, port)
    return reader


def _asked(transport: str, place: dict[str, str]) -> tuple[bytes, bytes]:
    """The request, and the frame behind it."""
    messages = [{"role": "user", "content": QUESTION}]
    if transport == "WebSocket":
        return _upgrade(), _frame(json.dumps({"type": "say", "messages": messages, **place}).encode())
    if transport == "gRPC-Web":
        asked = wire.SayRequest(messages=[wire.Message(role="user", content=QUESTION)])
        for name, value in place.items():
            setattr(asked, name, value)
        say = "/parley.v1.Dialogues/SayStreamed"
        return framed("application/grpc-web+proto", asked.SerializeToString(), say), b""
    if transport == "OpenAI":
        return _post("/v1/chat/completions", {"model": "default", "metadata": place, "messages": messages}), b""
    return _post("/v1/chat", {"messages": messages, **place}), b""


def _post(path: str, body: dict[str, object]) -> bytes:
    given = json.dumps({**body, "stream": True}).encode()
    return head("POST", path, f"Content-Type: application/json\r\nContent-Length: {len(given)}\r\n") + given


def _upgrade() -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    asked = f"GET /v1/stream HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    return f"{asked}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()


def _frame(payload: bytes) -> bytes:
    """One whole text frame of a client; masked with nothing but zeros, which the standard allows to be any."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack(">BH", 0x80 | 126, size)
    return b"\x81" + length + bytes(4) + payload
