"""Two gateways on real ports over one token log, with one scripted worker behind both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from gateway.app import create_app
from gateway.turn_streams import open_streams
from tests.gateway.conftest import Front
from tests.support.scripted_steps import ScriptedSteps
from tests.support.served import served

COME_BACK_SECONDS = 0.3


@dataclass
class Site:
    """``ports`` of its gateways."""

    front: Front
    ports: list[int]

    @property
    def steps(self) -> ScriptedSteps:
        return self.front.steps


@pytest.fixture
async def site(front: Front) -> AsyncIterator[Site]:
    gateway = front.settings.gateway.model_copy(update={"come_back_seconds": COME_BACK_SECONDS})
    settings = front.settings.model_copy(update={"gateway": gateway})
    async with AsyncExitStack() as stack:
        ports: list[int] = []
        for _ in range(2):
            streams = await stack.enter_async_context(open_streams(settings, front.conversations.trace_url))
            app = create_app(front.conversations, settings, streams)
            ports.append(await stack.enter_async_context(served(app)))
        yield Site(front, ports)
