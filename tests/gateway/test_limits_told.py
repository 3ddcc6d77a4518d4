"""A tenant that has used up what it may use hears so on every transport, and when to come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import websockets

from gateway.app import create_app
from gateway.limits import TURN_RETRY_SECONDS, Limits
from gateway.turn_streams import open_streams
from settings.schema import LimitSettings, TenantSettings
from tests.gateway.conftest import Front
from tests.gateway.test_rpc import call, said
from tests.support.served import served

SECONDS = 20
LIMITS = {
    "requests_per_minute": (LimitSettings(requests_per_minute=1), "it may send 1 messages a minute"),
    "tokens_per_minute": (LimitSettings(tokens_per_minute=1), "its 1 tokens of this minute are spent"),
    "concurrent_turns": (LimitSettings(concurrent_turns=1), "it may have 1 turns at once"),
}
QUESTION = {"messages": [{"role": "user", "content": "How long?"}]}


@dataclass(frozen=True)
class Refused:
    """As each transport tells it: ``status`` in its own words, ``detail``, and seconds to wait."""

    status: Any
    detail: str
    retry_after: int


async def over_rest(http: httpx.AsyncClient, *, stream: bool = False) -> Refused:
    told = await http.post("/v1/chat", json={**QUESTION, "stream": stream})
    return Refused(told.status_code, told.json()["detail"], int(told.headers["retry-after"]))


async def over_rest_status(http: httpx.AsyncClient) -> int:
    return (await http.post("/v1/chat", json=QUESTION)).status_code


async def over_sse(http: httpx.AsyncClient) -> Refused:
    return await over_rest(http, stream=True)


async def over_dialogues(http: httpx.AsyncClient) -> Refused:
    told = await http.post("/v1/dialogues", json=QUESTION)
    return Refused(told.status_code, told.json()["detail"], int(told.headers["retry-after"]))


async def over_openai(http: httpx.AsyncClient) -> Refused:
    told = await http.post("/v1/chat/completions", json={"model": "default", **QUESTION})
    error = told.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "limit_reached")
    assert told.headers["x-should-retry"] == "true"
    return Refused(told.status_code, error["message"], int(told.headers["retry-after"]))


async def over_a_socket(http: httpx.AsyncClient) -> Refused:
    url = str(http.base_url.copy_with(scheme="ws", path="/v1/stream"))
    async with websockets.connect(url) as connection, asyncio.timeout(SECONDS):
        await connection.send(json.dumps({"type": "say", **QUESTION}))
        told = json.loads(await connection.recv())
    assert (told["type"], told["problem"]) == ("error", "/docs#limit-reached")
    return Refused(told["status"], told["detail"], told["retry_after"])


async def over_rpc(http: httpx.AsyncClient) -> Refused:
    """Status 8 is RESOURCE_EXHAUSTED."""
    told = await call(http, "Say", said("How long?"))
    return Refused(*told.refusal, int(told.headers["retry-after"]))


async def over_rpc_streamed(http: httpx.AsyncClient) -> Refused:
    told = await call(http, "SayStreamed", said("How long?"))
    return Refused(*told.refusal, int(told.headers["retry-after"]))


TRANSPORTS = {
    over_rest: 429,
    over_sse: 429,
    over_dialogues: 429,
    over_openai: 429,
    over_a_socket: 429,
    over_rpc: "8",
    over_rpc_streamed: "8",
}


@asynccontextmanager
async def limited(front: Front, limits: LimitSettings, **gateway: float) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose tenant ``default`` has these limits; ``acme`` has none."""
    tenants = {"default": TenantSettings(limits=limits), "acme": TenantSettings()}
    changed = front.settings.gateway.model_copy(update=gateway)
    settings = front.settings.model_copy(update={"tenants": tenants, "gateway": changed})
    async with open_streams(settings, front.conversations.trace_url) as streams:
        app = create_app(front.conversations, settings, streams, limits=Limits.open(settings))
        async with (
            served(app) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as http,
        ):
            yield http


@asynccontextmanager
async def used_up(front: Front, http: httpx.AsyncClient) -> AsyncIterator[None]:
    """One turn was answered and one runs."""
    first = await http.post("/v1/chat", json=QUESTION)
    assert first.status_code == 200, first.text
    slow = {"messages": [{"role": "user", "content": "A slow one."}]}
    running = asyncio.create_task(http.post("/v1/chat", json=slow))
    begun = asyncio.create_task(front.steps.running.wait())
    await asyncio.wait({running, begun}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
    begun.cancel()
    yield
    front.steps.release.set()
    assert (await running).status_code in (200, 429)


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("limit", LIMITS)
async def test_it_is_told_when_to_come_back(front: Front, limit: str, transport: Any) -> None:
    """In the transport's own shape; another tenant goes on."""
    settings, words = LIMITS[limit]
    async with limited(front, settings) as http, used_up(front, http):
        refused = await transport(http)
        other = await http.post("/v1/chat", json={**QUESTION, "tenant": "acme"})
    assert (refused.status, other.status_code) == (TRANSPORTS[transport], 200)
    assert refused.detail.startswith(f"tenant default: {words}")
    if limit == "concurrent_turns":
        assert refused.retry_after == TURN_RETRY_SECONDS
    else:
        assert 1 <= refused.retry_after <= 60


@pytest.mark.parametrize("left", ["stream", "whole", "202"])
async def test_a_turn_counts_until_it_is_over(front: Front, left: str) -> None:
    """Also when nobody waits for it any more; who says it again is let in, because it is the same turn."""
    slow = {"messages": [{"role": "user", "content": "A slow one."}], "conversation": front.new(), "message_id": "m-1"}
    wait = {"wait_seconds": 0.5} if left == "202" else {}
    async with limited(front, LimitSettings(concurrent_turns=1), **wait) as http:
        body = {**slow, "on_disconnect": "continue", "stream": left == "stream"}
        first = asyncio.create_task(http.post("/v1/chat", json=body))
        await asyncio.wait_for(front.steps.running.wait(), SECONDS)
        if left == "202":
            assert (await first).status_code == 202
        first.cancel()
        await asyncio.wait({first})
        assert await over_rest_status(http) == 429
        again = asyncio.create_task(http.post("/v1/chat", json={**slow, "stream": True}))
        front.steps.release.set()
        assert (await again).status_code == 200
        async with asyncio.timeout(SECONDS):
            while (await over_rest_status(http)) == 429:  # noqa: ASYNC110 - who no longer waits is told nothing
                await asyncio.sleep(0.02)
