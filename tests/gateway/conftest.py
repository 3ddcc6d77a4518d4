"""A gateway in front of a scripted worker on a real server, and one in front of a stand-in that only raises."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.types import ASGIApp
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from gateway.app import create_app
from gateway.conversations import Conversations
from gateway.turn_streams import open_streams
from records.open_token_log import open_token_log
from settings.layout import Layout
from settings.schema import (
    SERVICES,
    GatewaySettings,
    ModelSettings,
    PoolSettings,
    Settings,
    TemporalSettings,
    TenantSettings,
)
from tests.support.scripted_steps import ScriptedSteps, scripted_worker


class _NoStreams:
    async def came_to_read(self, stream: str) -> int:
        del stream
        return 0


NO_STREAMS: Any = _NoStreams()
"""For a gateway of which no stream is asked."""
WEB_UI = "http://127.0.0.1:8233"
QUESTION = {"messages": [{"role": "user", "content": "How long?"}]}


def settings_on(queue: str, temporal: TemporalSettings | None = None, **gateway: Any) -> Settings:
    """Every step on ``queue``; the tenants ``default`` and ``acme``, which takes short messages only."""
    return Settings(
        pools={"all": PoolSettings(serves=SERVICES, task_queue=queue)},
        models={"canary": ModelSettings(name="canary-model")},
        tenants={
            "default": TenantSettings(),
            "acme": TenantSettings(max_characters=20),
            "open": TenantSettings(stream="open"),
            "gated": TenantSettings(stream="gated"),
        },
        gateway=GatewaySettings(**gateway),
        temporal=temporal or TemporalSettings(),
    )


@asynccontextmanager
async def http(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@dataclass
class Front:
    """A gateway with a worker behind it."""

    client: Client
    steps: ScriptedSteps
    conversations: Conversations
    settings: Settings
    http: httpx.AsyncClient

    def new(self) -> str:
        return f"conv-{uuid.uuid4().hex}"

    async def post(self, **body: Any) -> httpx.Response:
        return await self.http.post("/v1/chat", json={**QUESTION, **body})


@pytest.fixture
async def front(temporal: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Front]:
    queue = f"gateway-{uuid.uuid4().hex[:8]}"
    settings = settings_on(queue).model_copy(update={"data": tmp_path})
    token_log = open_token_log(settings.records, Layout.of(settings))
    steps = ScriptedSteps(queue, token_log=token_log)
    conversations = Conversations(temporal.client, task_queue=queue, web_ui=WEB_UI)
    async with (
        open_streams(settings, conversations.trace_url) as streams,
        scripted_worker(temporal.client, steps),
        http(create_app(conversations, settings, streams)) as client,
    ):
        yield Front(temporal.client, steps, conversations, settings, client)
    await token_log.close()


class Raising:
    """Stands where Conversations does; whatever is asked of it raises ``fault``."""

    client = None

    def __init__(self) -> None:
        self.fault: BaseException = AssertionError("nothing should be asked")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def ask(*_: Any, **__: Any) -> Any:
            raise self.fault

        return ask


@pytest.fixture
def raising() -> Raising:
    return Raising()


@pytest.fixture
async def alone(raising: Raising) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without Temporal: what it answers it answers by itself, or with the fault of ``raising``."""
    async with http(create_app(raising, settings_on("nowhere"), NO_STREAMS)) as client:  # type: ignore[arg-type]
        yield client


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]
