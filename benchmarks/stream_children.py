"""The processes beside the clients: ``python -m benchmarks.stream_children gateway|writer TEMPORAL_YAML``.

The gateway is the product's own, its conversations a stand-in that never answers: all a client gets is the token log.
The writer is the workers of a whole site at once: it writes to the log, as many tokens a second as it is told.
Each says one line of JSON when it is ready; the writer does what each line of its standard input asks, and says so.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from benchmarks.rpc_bytes import HOST, reply
from benchmarks.stream_wire import QUESTION
from cli.ending import end
from dialogue.messages import TurnKey, message_stream, text_digest
from gateway.app import create_app
from gateway.events import final_event
from gateway.serve import make_server, server_options
from gateway.turn_streams import open_streams
from records.token_log import DEFAULT_MAX_STREAM_BYTES
from records.token_log_file import TokenLogFile
from records.token_log_rules import pack_ids, piece_events, to_json
from settings.layout import Layout
from settings.load import load
from settings.ports import free_port
from settings.schema import Settings

__all__ = ["Child", "child", "key_of"]


# asked from outside ------------------------------------------------------------------------------


class Child:
    """A process of this module. ``told`` is what it said when it was ready."""

    def __init__(self, process: asyncio.subprocess.Process, told: dict[str, Any]) -> None:
        self._process = process
        self.told = told

    @property
    def pid(self) -> int:
        return self._process.pid

    async def do(self, **asked: Any) -> dict[str, Any]:
        """Asks and waits until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        return await _line(self._process)


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncGenerator[Child]:
    """A process that ends with its standard input, ready."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments), stdin=pipe, stdout=pipe, limit=1 << 24
    )
    assert process.stdin is not None
    try:
        yield Child(process, await _line(process))
    finally:
        process.stdin.close()
        await process.communicate()


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b"{"):
            return json.loads(line)
    raise RuntimeError("the process ended before it answered")


def key_of(conversation: str, tenant: str) -> TurnKey:
    return TurnKey(conversation=conversation, turn=1, tenant=tenant)


# the gateway -------------------------------------------------------------------------------------


class _NeverAnswering:
    """Stands where the gateway's conversations do."""

    client = None

    def __init__(self) -> None:
        self._never = asyncio.Event()  # held: what nobody holds is collected, and those who wait for it too

    def trace_url(self, workflow_id: str, run_id: str | None = None) -> str:
        return f"http://127.0.0.1:8233/namespaces/default/workflows/{workflow_id}/{run_id}"

    async def say(self, *_: Any, **__: Any) -> Any:
        await self._never.wait()


async def serve(settings: Settings) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # no line a request
    conversations: Any = _NeverAnswering()
    async with open_streams(settings, conversations.trace_url) as streams:
        port, stopping = free_port(HOST), asyncio.Event()
        app = create_app(conversations, settings, streams, stopping=stopping)
        server = make_server(app, HOST, port, server_options(settings.gateway))
        serving = asyncio.create_task(server.serve())
        print(json.dumps({"port": port}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stopping.set()
        server.stop()
        await serving


# the writer --------------------------------------------------------------------------------------


class Writer:
    """Writes turns into the log. A place is a conversation's name and its tenant."""

    def __init__(self, file: TokenLogFile) -> None:
        self._file = file

    def begin(self, places: list[list[str]]) -> dict[str, Any]:
        """The turns are accepted, and have come as far as their generation."""
        for conversation, tenant in places:
            stream = key_of(conversation, tenant).stream
            accepted = {"conversation": conversation, "turn": 1, "message_id": "m-1"}
            pointer = {"turn": 1, "tenant": tenant, "text_digest": text_digest(QUESTION)}
            self._file.publish(message_stream(conversation, "m-1"), "accepted", to_json(pointer), None)
            self._file.publish(stream, "accepted", to_json(accepted), None)
            self._file.publish(stream, "step", to_json({"step": "generate_answer", "attempt": 1}), None)
            self._file.open_attempt(stream, 1, 0, 1)
        return {"begun": len(places)}

    def flow(
        self, places: list[list[str]], texts: list[list[str]], per_second: float, *, together: bool = False
    ) -> dict[str, Any]:
        """Each place gets its texts, evenly and out of step with the others, or all ``together``. ``late``: seconds
        at most behind."""
        began, late = time.perf_counter(), 0.0
        apart = 0 if together else 1 / len(places) / per_second
        due = [(number * apart, number, 0) for number in range(len(places))]
        heapq.heapify(due)
        while due:
            at, number, index = due[0]
            ahead = began + at - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            late = max(late, -ahead)
            stream = key_of(*places[number]).stream
            text = texts[number][index]
            shown = list(piece_events([("token", text)]))
            self._file.append_tokens(stream, 1, 0, 1, index, 1, (pack_ids([index]), text.encode()), shown)
            following = (at + 1 / per_second, number, index + 1)
            if index + 1 < len(texts[number]):
                heapq.heapreplace(due, following)
            else:
                heapq.heappop(due)
        return {"seconds": time.perf_counter() - began, "late": late}

    def finish(self, places: list[list[str]]) -> dict[str, Any]:
        final = final_event(0, reply(1, "", ""), "").data
        del final["trace_url"]
        for place in places:
            stream = key_of(*place).stream
            self._file.publish(stream, "step", to_json({"step": "review_answer", "attempt": 1}), None)
            self._file.publish(stream, "final", to_json(final), None)
        return {"ended": len(places)}


def write(settings: Settings) -> None:
    layout = Layout.of(settings)
    layout.token_log.parent.mkdir(parents=True, exist_ok=True)
    file = TokenLogFile(layout.token_log, DEFAULT_MAX_STREAM_BYTES)
    writer = Writer(file)
    print(json.dumps({"writes": str(layout.token_log)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        done = getattr(writer, asked.pop("do"))(**asked)
        print(json.dumps(done), flush=True)
    file.close()


def main(role: str, config: Path) -> int:
    settings = load(config)
    if role == "gateway":
        asyncio.run(serve(settings))
    else:
        write(settings)
    return 0


if __name__ == "__main__":
    end(main(sys.argv[1], Path(sys.argv[2])))
