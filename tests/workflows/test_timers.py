"""Every timer of a conversation itself, on a server where time is skipped. Those of its steps: test_attempts.py."""

from __future__ import annotations

import uuid

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from dialogue.messages import ConversationStart, Say
from dialogue.turn import Reply
from tests.support.scripted_steps import ScriptedSteps, scripted_worker


async def _open(client: Client, queue: str, conversation: str, **start: object):
    opening = ConversationStart.model_validate({"fresh": True, **start})
    return await client.start_workflow("ConversationWorkflow", opening, id=conversation, task_queue=queue)


async def test_a_review_that_nobody_resolves_ends_with_the_fallback(skipping: WorkflowEnvironment) -> None:
    """After its time the waiting turn is answered with the fallback text, and its row says that nobody came."""
    steps = ScriptedSteps(f"q-{uuid.uuid4().hex[:6]}", human_timeout=7200)
    async with scripted_worker(skipping.client, steps):
        handle = await _open(skipping.client, steps.queue, "conv-review", idle_timeout=10_000)
        reply = await handle.execute_update("say", Say(message_id="m1", text="doubtful"), id="m1", result_type=Reply)
        assert reply.state == "waiting"
        result = await handle.result()
    row = steps.rows["conv-review", 1]
    assert (row.verdict, row.answer) == ("human", "(fallback)")
    assert "nobody resolved it in time" in row.note
    assert result["reason"] == "idle"


async def test_a_turn_that_outlasts_the_idle_time_costs_no_timers(skipping: WorkflowEnvironment) -> None:
    """While it waits for a person there is the review's own timer alone; the idle time begins anew when it is done."""
    steps = ScriptedSteps(f"q-{uuid.uuid4().hex[:6]}", human_timeout=300)
    async with scripted_worker(skipping.client, steps):
        handle = await _open(skipping.client, steps.queue, "conv-outlasts", idle_timeout=60.0)
        await handle.execute_update("say", Say(message_id="m1", text="doubtful"), id="m1")
        answered = await handle.result()
        decode = skipping.client.data_converter.payload_converter.from_payload
        timers = [
            decode(event.user_metadata.summary, str)
            async for event in handle.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
        ]
    assert (answered["reason"], answered["turns"]) == ("idle", 1)
    idle = "closes when nobody has spoken for so long"
    assert sorted(timers) == [idle, idle, "turn 1 · waits for a person"]


@pytest.mark.parametrize("idle", [60.0, 86_400.0])
async def test_an_idle_conversation_closes(skipping: WorkflowEnvironment, idle: float) -> None:
    """When nobody has spoken for its idle time the run ends and says why; a turn puts the end off."""
    steps = ScriptedSteps(f"q-{uuid.uuid4().hex[:6]}")
    async with scripted_worker(skipping.client, steps):
        handle = await _open(skipping.client, steps.queue, f"conv-idle-{idle}", idle_timeout=idle)
        opened = await skipping.get_current_time()
        await skipping.sleep(idle / 2)
        await handle.execute_update("say", Say(message_id="m1", text="How long?"), id="m1")
        result = await handle.result()
        closed = await skipping.get_current_time()
    assert (result["reason"], result["turns"]) == ("idle", 1)
    assert (closed - opened).total_seconds() >= 1.5 * idle
