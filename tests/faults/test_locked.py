"""Another process holds a lock on a database of the site for longer than anybody wants to wait."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import pytest

from tests.faults.trouble import QUESTION, doctor, failing, held, logged
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("stood"), pytest.mark.timeout(400)]


@pytest.mark.full
async def test_a_turn_waits_for_locked_records_and_is_recorded_once(stood: Site) -> None:
    """Whoever holds the lock was stopped in its transaction. The generation is not taken for dead, the last step says
    what is wrong and what to do, and ends when the lock does."""
    conversation = stood.new()
    async with held(stood.layout.data / "records.db", stopped=True):
        said = asyncio.create_task(stood.say(conversation, QUESTION, "m1"))
        failure = await failing(stood, conversation, "return_answer")
        (line,) = await doctor(stood, "records")
    assert failure.type == "records-unavailable"
    assert f"{stood.layout.data / 'records.db'} cannot be used: database is locked. Another" in failure.message
    assert "\n" not in failure.message
    assert not line.ok
    assert "fuser" in line.do
    reply = await asyncio.wait_for(said, 100)
    assert (reply.state, reply.verdict) == ("done", "pass")
    steps = {step.step: step.attempt for step in reply.steps}
    assert steps["generate_answer"] == 1
    assert steps["return_answer"] > 1
    (row,) = await stood.rows(conversation)
    assert row.output_text == reply.answer
    assert not row.record  # the means for an exact rerun found no room in time: that costs the rerun alone
    assert [each["event"] for each in logged(stood, "gpu", conversation) if each.get("fault")] == ["try record lost"]
    assert not await stood.audit.verify()


async def test_a_locked_token_log_costs_the_stream_and_not_the_answer(stood: Site) -> None:
    """Each of the two workers waits for it once and then no more; the next turn streams again."""
    conversation, started = stood.new(), time.monotonic()
    async with held(stood.layout.token_log):
        reply = await asyncio.wait_for(stood.say(conversation, QUESTION, "m1"), 100)
        took = time.monotonic() - started
    assert (reply.state, reply.verdict) == ("done", "pass")
    assert {step.attempt for step in reply.steps} == {1}
    assert took < 25  # it makes 10 events and some 16 appends, and waiting a second for each would take longer
    assert not await stood.token_log.read(f"{conversation}/0001")
    lost = [line for line in logged(stood, "gpu", conversation) if line.get("event") == "token log lost"]
    assert [line["fault"] for line in lost] == ["token-log-unavailable"]
    assert "database is locked. Another process holds its lock" in lost[0]["reason"]
    assert len(await stood.rows(conversation)) == 1
    again = await stood.say(conversation, QUESTION, "m2")
    events = await stood.token_log.read(f"{conversation}/0002")
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert {event.kind for event in events} >= {"accepted", "step", "token", "final"}
    assert events[-1].data["answer"] == again.answer


async def test_a_token_log_locked_in_mid_answer_costs_the_rest_of_the_stream(stood: Site) -> None:
    """What was logged stays, the end of the stream is missing; the answer and its row are whole."""
    conversation = stood.new()
    said = asyncio.create_task(stood.say(conversation, QUESTION, "m1"))
    async for event in stood.token_log.follow(f"{conversation}/0001"):
        if event.kind == "token":
            break
    holder = sqlite3.connect(stood.layout.token_log, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    reply = await asyncio.wait_for(said, 100)
    holder.execute("COMMIT")
    holder.close()
    assert (reply.state, reply.verdict) == ("done", "pass")
    kinds = [event.kind for event in await stood.token_log.read(f"{conversation}/0001")]
    assert "token" in kinds
    assert "final" not in kinds
    logged_tokens = len(await stood.token_log.tokens(f"{conversation}/0001", 1, 0))
    assert 0 < logged_tokens <= reply.usage.completion_tokens
    (row,) = await stood.rows(conversation)
    assert row.output_text == reply.answer
