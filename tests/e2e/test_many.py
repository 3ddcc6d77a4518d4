"""Fifty conversations at once share the batch, and each gets its own answer."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.xdist_group("site")]

QUESTIONS = (
    "How long do I have to send back shoes I bought online?",
    "What does express delivery cost?",
    "What is the daily transfer limit?",
    "How much does a replacement card cost?",
    "Who won the football world cup in 1998?",
)


async def test_fifty_conversations_at_once(site: Site) -> None:
    """Each has one reply and one row, and the engine ran more than one row in a step."""
    conversations = [site.new() for _ in range(50)]
    replies = await asyncio.gather(
        *(site.say(each, QUESTIONS[n % len(QUESTIONS)], "m1") for n, each in enumerate(conversations))
    )
    assert [reply.state for reply in replies] == ["done"] * 50
    assert {reply.conversation for reply in replies} == set(conversations)
    assert all(reply.intent is None for reply in replies[4::5])
    rows = await asyncio.gather(*(site.rows(each) for each in conversations))
    assert [len(each) for each in rows] == [1] * 50
    assert not await site.audit.verify()
    async with httpx.AsyncClient(timeout=20) as client:
        page = (await client.get(site.metrics_url("gpu"))).text
    most = [
        float(line.split()[-1]) for line in page.splitlines() if line.startswith("parley_engine_max_rows_in_a_step")
    ]
    assert max(most) > 1
