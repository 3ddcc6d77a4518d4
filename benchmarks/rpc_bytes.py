"""The same turn over server-sent events, gRPC-Web and Connect: bytes on the wire, and how late its tokens come.

A turn is written into a token log, token by token as a model makes them, and read over every transport at the same
time from one gateway. Bytes are all that the server sends on the connection: head, chunks and body. Nothing but the
gateway is measured: its conversations are a stand-in that knows the one turn. Server and readers share this process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.figures import percentile, spread
from dialogue.messages import TurnKey
from dialogue.turn import Reply, Transcript, TurnSummary
from gateway.app import create_app
from gateway.events import final_event
from gateway.proto.parley.v1 import dialogue_pb2 as wire
from gateway.turn_streams import open_streams
from records.open_token_log import open_token_log
from records.token_log import TokenLog
from settings.layout import Layout
from settings.ports import free_port
from settings.schema import Settings, TenantSettings

__all__ = ["HOST", "framed", "head", "reply", "run", "table"]

HOST = "127.0.0.1"
CONVERSATION = "benchmark"
SERVICE = "/parley.v1.Dialogues/Resume"
CITATION = {"document": "en/returns.md", "title": "Returns and refunds", "section": "Online orders", "start": 39}
CITATION |= {"end": 141, "quote": "Shoes and clothes bought online can be sent back within 30 days.", "support": 0.93}


@dataclass(frozen=True, slots=True)
class Size:
    """So many turns of so many tokens, made at so many a second; a quarter of them is thinking."""

    turns: int
    tokens: int
    per_second: float


FULL, QUICK = Size(5, 400, 50), Size(1, 20, 200)


@dataclass(slots=True)
class Read:
    """What a reader got: when each token came, and all bytes."""

    bytes: int = 0
    came: dict[int, float] = field(default_factory=dict[int, float])


class _OneTurn:
    """Stands where the gateway's conversations do."""

    client = None

    def __init__(self, turn: int) -> None:
        self._turn = turn
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def trace_url(self, workflow_id: str, run_id: str | None = None) -> str:
        return f"http://127.0.0.1:8233/namespaces/default/workflows/{workflow_id}/{run_id}"

    async def transcript(self, conversation: str, tenant: str) -> Transcript:
        summary = TurnSummary(
            turn=self._turn,
            message_id="m-1",
            text_digest="",
            question="",
            answer="",
            verdict="pass",
            state="running",
        )
        return Transcript(conversation=conversation, tenant=tenant, older=self._turn - 1, turns=(summary,))

    async def settled(self, conversation: str, message_id: str, tenant: str) -> Reply:
        del conversation, message_id, tenant
        return await asyncio.shield(self.reply)


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row a transport; bytes of a whole turn, milliseconds from the log's append to the reader."""
    size = QUICK if quick else FULL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # no line a request
    got: dict[str, list[tuple[Read, Mapping[int, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data=Path(folder), tenants={"default": TenantSettings(stream="open")})
        token_log = open_token_log(settings.records, Layout.of(settings))
        try:
            for turn in range(1, size.turns + 1):
                for name, read in (await _turn(settings, token_log, turn, size)).items():
                    got.setdefault(name, []).append(read)
        finally:
            await token_log.close()
    return {"turns": size.turns, "tokens": size.tokens, "rows": [_row(name, reads) for name, reads in got.items()]}


async def _turn(
    settings: Settings, token_log: TokenLog, turn: int, size: Size
) -> dict[str, tuple[Read, Mapping[int, float]]]:
    """One turn, and what each transport's reader got of it."""
    conversations: Any = _OneTurn(turn)
    port = free_port(HOST)
    async with open_streams(settings, conversations.trace_url) as streams:
        app = create_app(conversations, settings, streams)
        server = Server(app, address=HOST, port=port, interface=Interfaces.ASGINL, log_level=LogLevels.critical)
        serving = asyncio.create_task(server.serve())
        try:
            requests = _requests(turn)
            reading = {name: asyncio.create_task(_read(port, request)) for name, request in requests.items()}
            written = await _write(token_log, conversations, turn, size)
            return {name: (await each, written) for name, each in reading.items()}
        finally:
            server.stop()
            await serving


def _requests(turn: int) -> dict[str, bytes]:
    asked = wire.ResumeRequest(conversation=CONVERSATION, turn=turn)
    binary = asked.SerializeToString()
    as_json = json.dumps({"conversation": CONVERSATION, "turn": turn}).encode()
    return {
        "server-sent events": head("GET", f"/v1/chat/{CONVERSATION}/stream?turn={turn}"),
        "gRPC-Web": framed("application/grpc-web+proto", binary),
        "Connect, protobuf": framed("application/connect+proto", binary),
        "Connect, JSON": framed("application/connect+json", as_json),
    }


def framed(kind: str, message: bytes, service: str = SERVICE) -> bytes:
    body = struct.pack(">BI", 0, len(message)) + message
    return head("POST", service, f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n") + body


def head(method: str, path: str, headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{headers}\r\n".encode()


async def _read(port: int, request: bytes) -> Read:
    """Until the server closes. A token is there when its text is: each is a number of its own."""
    reader, writer = await _connected(port)
    writer.write(request)
    found, seen = Read(), bytearray()
    while chunk := await reader.read(65536):
        now = time.perf_counter()
        found.bytes += len(chunk)
        seen += chunk
        for match in re.finditer(rb"<(\d+)>", bytes(seen)):
            found.came.setdefault(int(match[1]), now)
        del seen[: max(0, len(seen) - 20)]  # a text may be cut in two
    writer.close()
    return found


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.01)  # the server has no event for it


async def _write(token_log: TokenLog, conversations: _OneTurn, turn: int, size: Size) -> Mapping[int, float]:
    """When each token was appended."""
    stream = TurnKey(conversation=CONVERSATION, turn=turn, tenant="default").stream
    accepted = {"conversation": CONVERSATION, "turn": turn, "message_id": "m-1"}
    await token_log.publish(stream, "accepted", accepted)
    for step in ("receive_input", "recognise_intent", "retrieve_knowledge", "generate_answer"):
        await token_log.publish(stream, "step", {"step": step, "attempt": 1})
    await asyncio.sleep(0.2)  # the readers are there by then
    place = (stream, 1, 0, 1)
    await token_log.open_attempt(*place)
    written: dict[int, float] = {}
    texts: dict[str, list[str]] = {"reasoning": [], "token": []}
    for number in range(size.tokens):
        kind = "reasoning" if number < size.tokens // 4 else "token"
        texts[kind].append(f"<{number}>")
        written[number] = time.perf_counter()
        await token_log.append_tokens(*place, number, [number], [(kind, texts[kind][-1])])
        await asyncio.sleep(1 / size.per_second)
    passage = {"text": CITATION["quote"], "start": CITATION["start"]}
    await token_log.publish(stream, "citation", {"number": 1, **CITATION, "passage": passage})
    whole = reply(turn, "".join(texts["token"]), "".join(texts["reasoning"]))
    final = final_event(0, whole, "").data
    del final["trace_url"]
    await token_log.publish(stream, "final", final)
    conversations.reply.set_result(whole)
    return written


def reply(turn: int, answer: str, reasoning: str) -> Reply:
    return Reply.model_validate(
        {
            "conversation": CONVERSATION,
            "turn": turn,
            "message_id": "m-1",
            "tenant": "default",
            "state": "done",
            "answer": answer,
            "reasoning": reasoning,
            "language": "en",
            "verdict": "pass",
            "intent": "return_item",
            "confidence": 0.94,
            "citations": [{"number": 1, **CITATION}],
            "workflow_id": CONVERSATION,
            "run_id": "01931e5c-5f5a-7c80-8f3c-1f2a3b4c5d6e",
            "received_at": 0.0,
        }
    )


def _row(name: str, reads: Sequence[tuple[Read, Mapping[int, float]]]) -> dict[str, Any]:
    late = [1000 * (read.came[number] - at) for read, written in reads for number, at in written.items()]
    last = max(reads[0][1])
    return {
        "transport": name,
        "bytes": round(sum(read.bytes for read, _ in reads) / len(reads)),
        "first_token_ms": spread([1000 * (read.came[0] - written[0]) for read, written in reads], 1),
        "last_token_ms": spread([1000 * (read.came[last] - written[last]) for read, written in reads], 1),
        "p50_ms": round(percentile(late, 50), 1),
        "p95_ms": round(percentile(late, 95), 1),
    }


def table(result: dict[str, Any]) -> Table:
    title = (
        f"A turn of {result['tokens']} tokens, {result['turns']} times: bytes, and milliseconds from append to reader"
    )
    shown = Table("transport", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("bytes", "to SSE", "first token", "last token", "p50", "p95"):
        shown.add_column(column, justify="right")
    whole = result["rows"][0]["bytes"]
    for row in result["rows"]:
        shown.add_row(
            row["transport"],
            str(row["bytes"]),
            f"{row['bytes'] / whole:.2f}",
            *(f"{row[name]['median']:.1f}" for name in ("first_token_ms", "last_token_ms")),
            f"{row['p50_ms']:.1f}",
            f"{row['p95_ms']:.1f}",
        )
    return shown
