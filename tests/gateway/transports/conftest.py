"""Two gateways on real ports over one token log, with one scripted worker behind both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.app import create_app
from gateway.turn_streams import TurnStreams, open_streams
from tests.gateway.conftest import Front
from tests.support.scripted_steps import ScriptedSteps
from tests.support.served import served

COME_BACK_SECONDS = 0.3
SECONDS = 30


class Readers:
    """What the gateways note of who reads. A test awaits it, and may decide when the time to come back is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._came: asyncio.Queue[None] = asyncio.Queue()
        self._looking: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
        self._may_look = asyncio.Event()
        self._may_look.set()

    def watch(self, streams: TurnStreams) -> None:
        """Those of one more gateway."""
        came_to_read, newest_reader = streams.came_to_read, streams.newest_reader

        async def coming(stream: str) -> int:
            number = await came_to_read(stream)
            self._came.put_nowait(None)
            return number

        async def looking(stream: str) -> int:
            task = asyncio.current_task()
            assert task is not None
            self._looking.put_nowait(task)
            await self._may_look.wait()
            return await newest_reader(stream)

        self._monkeypatch.setattr(streams, "came_to_read", coming)
        self._monkeypatch.setattr(streams, "newest_reader", looking)

    def wait_for(self) -> None:
        """From now on no gateway looks whether its reader is back."""
        self._may_look.clear()

    async def came(self, count: int) -> None:
        """Until so many more have been noted."""
        async with asyncio.timeout(SECONDS):
            for _ in range(count):
                await self._came.get()

    async def missed(self) -> None:
        """A gateway whose reader left looks whether they are back, and has done what it then does."""
        self._may_look.set()
        async with asyncio.timeout(SECONDS):
            await asyncio.wait({await self._looking.get()})


@dataclass
class Site:
    """``ports`` of its gateways."""

    front: Front
    readers: Readers
    ports: list[int] = field(default_factory=list[int])

    @property
    def steps(self) -> ScriptedSteps:
        return self.front.steps


@pytest.fixture
async def site(front: Front, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    gateway = front.settings.gateway.model_copy(update={"come_back_seconds": COME_BACK_SECONDS})
    settings = front.settings.model_copy(update={"gateway": gateway})
    site = Site(front, Readers(monkeypatch))
    async with AsyncExitStack() as stack:
        for _ in range(2):
            streams = await stack.enter_async_context(open_streams(settings, front.conversations.trace_url))
            site.readers.watch(streams)
            app = create_app(front.conversations, settings, streams)
            site.ports.append(await stack.enter_async_context(served(app)))
        yield site
