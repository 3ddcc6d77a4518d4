"""What the Web UI shows of a conversation, asked of the server as the Web UI asks it."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata

from dialogue.messages import ResolveReview
from dialogue.plan import TurnPlan
from dialogue.steps import ReceiveInput
from tests.support.scripted_plan import scripted_plan
from tests.workflows.conftest import Site


async def _runs(site: Site, conversation: str) -> int:
    return len([run async for run in site.client.list_workflows(f"WorkflowId = '{conversation}'")])


async def test_a_run_that_goes_on_shows_the_turns_before(site: Site) -> None:
    """At once, before anything is said in it: Temporal gives it no summary of its own. The chat page is linked as it
    was."""

    def plan(request: ReceiveInput) -> TurnPlan:
        usual = scripted_plan(request, site.steps.queue, human_timeout=60, max_seconds=60, steps={})
        return usual.model_copy(update={"page": "https://chat.example"})

    site.steps.planner = plan
    conversation = site.new()
    await site.say(conversation, "How long?", "m1", start={"turns_per_run": 1})
    handle = site.client.get_workflow_handle(conversation)
    async with asyncio.timeout(20):
        while await _runs(site, conversation) < 2:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.02)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert metadata.current_details.startswith("tenant `default` · goes on from an earlier run\n\n| turn |")
    assert "| 1 | How long? | return_item 0.90 | pass |" in metadata.current_details
    assert f"(https://chat.example/?tenant=default&conversation={conversation})" in metadata.current_details


async def test_every_activity_and_timer_has_a_summary(site: Site) -> None:
    """Each of a turn's begins with its label; the start says whose it is, and the update's id is the message's."""
    conversation = site.new()
    await site.say(conversation, "doubtful", "m1")
    await site.conversations.resolve_review(conversation, ResolveReview(turn=1, decision="approve", by="ann"))
    await site.say(conversation, "repeat yourself", "m2")
    handle = site.client.get_workflow_handle(conversation)
    await handle.signal("feedback", {"turn": 2, "score": 1})
    await asyncio.wait_for(site.steps.judged.get(), 20)
    decode = site.client.data_converter.payload_converter.from_payload
    labelled: set[str] = set()
    async for event in handle.fetch_history_events():
        told = event.user_metadata
        if event.event_type in (EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_TIMER_STARTED):
            labelled.add(decode(told.summary, str))
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            assert decode(told.summary, str) == "tenant default · opened by sdk"
            assert decode(told.details, str) == f"Incident review: `parley replay show {conversation}`"
    others = {summary for summary in labelled if not summary.startswith(("turn 1 · ", "turn 2 · "))}
    assert others == {"closes when nobody has spoken for so long"}
    assert {"turn 1 · waits for a person", "turn 2 · feedback", "turn 1 · return_answer"} < labelled
    accepted = [
        event.workflow_execution_update_accepted_event_attributes.accepted_request.meta.update_id
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    ]
    assert accepted[::2] == ["m1", "m2"]
