"""A pool is killed (SIGKILL) while it works: one reply, one row, a whole stream."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

LONG = "Tell me everything about how to send back shoes that I bought online, step by step."


async def test_a_gpu_worker_killed_in_mid_answer_costs_the_reader_nothing(site: Site) -> None:
    """The next worker goes on from the logged tokens: one stream without a gap, one reply, one row."""
    conversation = site.new()
    said = asyncio.create_task(site.say(conversation, LONG, "m1"))
    seen = 0
    async for event in site.token_log.follow(f"{conversation}/0001"):
        seen += event.kind == "token"
        if seen == 5:
            break
    site.up.supervisor.kill("gpu")
    await site.up.supervisor.ready("gpu")
    reply = await asyncio.wait_for(said, 150)
    assert reply.state == "done"
    assert len(await site.rows(conversation)) == 1
    first = next(step for step in reply.steps if step.step == "generate_answer")
    assert first.attempt > 1
    assert "resumed at token" in first.result
    events = await site.token_log.read(f"{conversation}/0001")
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events].count("final") == 1


async def test_a_dialogue_worker_killed_between_steps_loses_nothing(site: Site) -> None:
    """Every message that was accepted gets one reply and one row."""
    conversations = [site.new() for _ in range(3)]
    said = [asyncio.create_task(site.say(each, "What does express delivery cost?", "m1")) for each in conversations]
    async for event in site.token_log.follow(f"{conversations[0]}/0001"):
        if event.kind == "step" and event.data["step"] == "generate_answer":
            break
    site.up.supervisor.kill("dialogue")
    await site.up.supervisor.ready("dialogue")
    replies = await asyncio.wait_for(asyncio.gather(*said), 150)
    assert [reply.state for reply in replies] == ["done"] * 3
    for each in conversations:
        assert len(await site.rows(each)) == 1
