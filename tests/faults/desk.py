"""The driver's end of the stops: it hears of each, holds the one it was asked to hold, and lets the others go on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["Desk", "Hold", "Stop"]


@dataclass(frozen=True, slots=True)
class Stop:
    """A worker, process ``pid`` of ``pool``, said ``at`` (the clock of ``time.monotonic``) where it is."""

    pool: str
    step: str
    when: str
    conversation: str
    turn: int
    attempt: int
    pid: int
    at: float


@dataclass(slots=True)
class Hold:
    """One worker held at one stop. :meth:`reached` waits for it; :meth:`go_on` lets it go."""

    step: str
    when: str
    conversation: str
    _reached: asyncio.Future[Stop] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self) -> Stop:
        return await asyncio.shield(self._reached)

    def go_on(self) -> None:
        self._gone.set()

    def is_for(self, stop: Stop) -> bool:
        wanted = (self.step, self.when, self.conversation)
        return not self._reached.done() and wanted == (stop.step, stop.when, stop.conversation)

    async def held(self, stop: Stop) -> None:
        self._reached.set_result(stop)
        await self._gone.wait()


class Desk:
    """Listens on a Unix socket. ``heard`` holds every stop since :meth:`forget`."""

    def __init__(self) -> None:
        self.heard: list[Stop] = []
        self._holds: list[Hold] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        desk = cls()
        server = await asyncio.start_unix_server(desk._hear, path)
        try:
            yield desk
        finally:
            desk.forget()
            server.close()

    def hold(self, step: str, when: str, conversation: str) -> Hold:
        """The next worker that comes to this stop is held, once."""
        hold = Hold(step, when, conversation)
        self._holds.append(hold)
        return hold

    def forget(self) -> None:
        """Lets everyone go who is held, and forgets what was heard."""
        for hold in self._holds:
            hold.go_on()
        self._holds.clear()
        self.heard.clear()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line: dict[str, Any] = json.loads(await reader.readline())
            stop = Stop(at=time.monotonic(), **line)
            self.heard.append(stop)
            hold = next((each for each in self._holds if each.is_for(stop)), None)
            if hold is not None:
                await hold.held(stop)
            writer.write(b"go on\n")
            await writer.drain()
        except (ConnectionError, ValueError):  # killed while it was held, or in the middle of its line
            pass
        finally:
            writer.close()
