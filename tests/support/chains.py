"""The histories of a conversation, run by run."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

__all__ = ["lost_tasks", "runs_of"]

_LOST = (EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)


async def runs_of(client: Client, workflow_id: str) -> list[list[HistoryEvent]]:
    """The events of every run of the newest chain, from the first through each continue-as-new."""
    description = (await client.get_workflow_handle(workflow_id).describe()).raw_description
    run_id, runs = description.workflow_execution_info.first_run_id, list[list[HistoryEvent]]()
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        runs.append([event async for event in handle.fetch_history_events()])
        run_id = runs[-1][-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    assert runs
    return runs


def lost_tasks(runs: list[list[HistoryEvent]]) -> list[HistoryEvent]:
    """The workflow tasks that failed or timed out."""
    return [event for run in runs for event in run if event.event_type in _LOST]
