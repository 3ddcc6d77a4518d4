"""Waits until a workflow was asked something, for tests that go on once it knows."""

from __future__ import annotations

import asyncio

from temporalio.client import Client

__all__ = ["accepted_update"]

SECONDS = 30


async def accepted_update(client: Client, workflow_id: str, name: str) -> None:
    """Until its history tells that it took an update of that name, though it may not have done it yet."""
    handle = client.get_workflow_handle(workflow_id)
    async with asyncio.timeout(SECONDS):
        while True:
            async for event in handle.fetch_history_events():
                accepted = event.workflow_execution_update_accepted_event_attributes
                if accepted.accepted_request.input.name == name:
                    return
            await asyncio.sleep(0.02)
