"""How long until the engine's row is free: a stream whose reader leaves, a DELETE, a cancelled workflow.

A real gateway on a port, in this process, before :mod:`benchmarks.generating`. Its ``come_back_seconds`` is 0: else a
reader who left is waited for, and that is what would be measured.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.box import SIMPLE_HEAD
from rich.table import Table

from activities.heartbeats import INTERVAL
from benchmarks.figures import percentile
from benchmarks.generating import QUESTION, Stand, stand, until_freed
from gateway.app import create_app
from gateway.turn_streams import open_streams
from tests.support.served import served

__all__ = ["run", "table"]

COME_BACK_SECONDS = 0.0
AIM_MS = 500
"""Of the 95th percentile."""
FULL, QUICK = ((20, (1, 8)), (2, (1, 2)))
"""Cancels of each way, and how many answers are in flight."""


@dataclass(slots=True)
class Turn:
    """One that is generated, and its reader. ``begun`` once the stream's head is there, ``verdict`` once it ended."""

    conversation: str
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: str | None = None
    reading: asyncio.Task[None] = field(init=False)

    def ended_by_itself(self) -> bool:
        return self.verdict not in (None, "cancelled")


@dataclass(frozen=True, slots=True)
class Site:
    stand: Stand
    http: httpx.AsyncClient

    async def begin(self) -> Turn:
        """Says something over server-sent events, and waits for the first token of the answer."""
        name = f"benchmark-{uuid.uuid4().hex}"
        turn = Turn(name)
        turn.reading = asyncio.create_task(self._read(turn))
        async with aclosing(self.stand.token_log.follow(f"{name}/0001", until_kinds=("token",))) as events:
            async for _ in events:
                pass
        await turn.begun.wait()
        return turn

    async def _read(self, turn: Turn) -> None:
        body = {
            "messages": [{"role": "user", "content": QUESTION}],
            "conversation": turn.conversation,
            "message_id": "m1",
            "stream": True,
            "on_disconnect": "cancel",
        }
        async with self.http.stream("POST", "/v1/chat", json=body) as response:
            turn.begun.set()
            async for line in response.aiter_lines():
                if line.startswith("data: ") and "verdict" in (data := json.loads(line.removeprefix("data: "))):
                    turn.verdict = data["verdict"]

    async def leave(self, turn: Turn) -> None:
        """Closes the connection."""
        turn.reading.cancel()
        await asyncio.wait({turn.reading})

    async def delete(self, turn: Turn) -> None:
        await self.http.delete(f"/v1/chat/{turn.conversation}")

    async def cancel_workflow(self, turn: Turn) -> None:
        """As ``temporal workflow cancel`` does."""
        await self.stand.conversations.client.get_workflow_handle(turn.conversation).cancel()


WAYS: dict[str, Callable[[Site, Turn], Coroutine[Any, Any, None]]] = {
    "reader leaves": Site.leave,
    "DELETE": Site.delete,
    "workflow cancelled": Site.cancel_workflow,
}


@dataclass(slots=True)
class Case:
    """One way with so many answers in flight. ``missed``: turns that ended by themselves first."""

    way: str
    in_flight: int
    milliseconds: list[float] = field(default_factory=list[float])
    missed: int = 0


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row a case. The ways take turns, so that a busy minute of the machine is none's alone."""
    cancels, sizes = QUICK if quick else FULL
    cases = [Case(way, number) for number in sizes for way in WAYS]
    with tempfile.TemporaryDirectory() as folder:
        async with stand(Path(folder)) as stood, stood.generating(INTERVAL), _site(stood) as site:
            for number in sizes:
                await _measure(site, [case for case in cases if case.in_flight == number], cancels)
    settings = {"heartbeat_seconds": INTERVAL, "come_back_seconds": COME_BACK_SECONDS, "aim_ms": AIM_MS}
    return {**settings, "rows": [_row(case) for case in cases]}


@asynccontextmanager
async def _site(stood: Stand) -> AsyncIterator[Site]:
    gateway = stood.settings.gateway.model_copy(update={"come_back_seconds": COME_BACK_SECONDS})
    settings = stood.settings.model_copy(update={"gateway": gateway})
    async with (
        open_streams(settings, stood.conversations.trace_url) as streams,
        served(create_app(stood.conversations, settings, streams)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
    ):
        yield Site(stood, http)


async def _measure(site: Site, cases: Sequence[Case], cancels: int) -> None:
    running: list[Turn] = []
    warm = await site.begin()  # the workflow, the prompt, the first heartbeat
    await until_freed(site.stand, warm.conversation, site.delete(warm), warm.ended_by_itself)
    while unfinished := [case for case in cases if len(case.milliseconds) < cancels]:
        for case in unfinished:
            running = [turn for turn in running if not turn.reading.done()]
            running += [await site.begin() for _ in range(case.in_flight - len(running))]
            turn = running.pop(0)
            cancelling = WAYS[case.way](site, turn)
            milliseconds = await until_freed(site.stand, turn.conversation, cancelling, turn.ended_by_itself)
            if milliseconds is None:
                case.missed += 1
            else:
                case.milliseconds.append(milliseconds)
            await _ended(turn)
    await asyncio.gather(*(_stop(site, turn) for turn in running))


async def _stop(site: Site, turn: Turn) -> None:
    await site.delete(turn)
    await _ended(turn)


async def _ended(turn: Turn) -> None:
    with suppress(asyncio.CancelledError):  # it left
        await turn.reading


def _row(case: Case) -> dict[str, Any]:
    return {
        "way": case.way,
        "in_flight": case.in_flight,
        "cancels": len(case.milliseconds),
        "missed": case.missed,
        "p50_ms": round(percentile(case.milliseconds, 50), 1),
        "p95_ms": round(percentile(case.milliseconds, 95), 1),
        "greatest_ms": round(max(case.milliseconds), 1),
    }


def table(result: dict[str, Any]) -> Table:
    title = f"To the free row; come_back_seconds {result['come_back_seconds']:g}; aim: p95 below {result['aim_ms']} ms"
    shown = Table("way", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in ("in flight", "cancels", "missed", "p50 ms", "p95 ms", "most ms"):
        shown.add_column(column, justify="right")
    for row in result["rows"]:
        figures = (f"{row[name]:.0f}" for name in ("p50_ms", "p95_ms", "greatest_ms"))
        shown.add_row(row["way"], *(str(row[name]) for name in ("in_flight", "cancels", "missed")), *figures)
    return shown
