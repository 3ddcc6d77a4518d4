"""Whoever cancels: the sequence leaves the engine's batch, on a whole site.

A reader who leaves has some seconds to come back, in which this model has said all:
`tests/benchmarks/test_cancel_ways.py` leaves a longer answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import httpx
import pytest
from temporalio.client import WorkflowFailureError

from benchmarks.metrics_page import samples
from dialogue.turn import Reply
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

LONG = "How long do I have to send back shoes I bought online?"
SECONDS = 60


@asynccontextmanager
async def generating(site: Site, conversation: str) -> AsyncGenerator[httpx.AsyncClient]:
    """Somebody reads the answer as it is made, and leaves at the end; its first token is there."""
    body = {"messages": [{"role": "user", "content": LONG}], "conversation": conversation, "message_id": "m1"}
    asked = {**body, "stream": True, "on_disconnect": "cancel"}
    async with (
        httpx.AsyncClient(base_url=site.gateway_url, timeout=SECONDS) as http,
        http.stream("POST", "/v1/chat", json=asked),
    ):
        async with aclosing(site.token_log.follow(f"{conversation}/0001", until_kinds=("token",))) as events:
            async for _ in events:
                pass
        yield http


async def delete(site: Site, conversation: str) -> None:
    async with generating(site, conversation) as http:
        assert (await http.delete(f"/v1/chat/{conversation}")).status_code == 200


async def cancel_the_workflow(site: Site, conversation: str) -> None:
    async with generating(site, conversation):
        handle = site.conversations.client.get_workflow_handle(conversation)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()


async def cancelled(site: Site) -> float:
    """Sequences that left the batch so far, as the engine counts them; the page is new when an answer ended."""
    short: Reply = await site.say(site.new(), LONG, "m1", say={"max_new_tokens": 4})
    assert short.usage.completion_tokens > 0
    page = await asyncio.to_thread(lambda: list(samples(site.metrics_url("gpu"))))
    return sum(value for name, _, value in page if name == "parley_engine_cancelled")


@pytest.mark.parametrize("way", [delete, cancel_the_workflow], ids=lambda way: way.__name__)
async def test_a_cancelled_sequence_leaves_the_batch(site: Site, way: Callable[[Site, str], Awaitable[None]]) -> None:
    """It did not come to its own end."""
    before, conversation = await cancelled(site), site.new()
    await way(site, conversation)
    async with asyncio.timeout(SECONDS):
        async for event in site.token_log.follow(f"{conversation}/0001"):
            if event.kind == "final":
                assert event.data["verdict"] == "cancelled"
    assert await cancelled(site) == before + 1
    assert len(await site.token_log.tokens(f"{conversation}/0001", 1, 0)) < site.settings.generation.max_new_tokens
