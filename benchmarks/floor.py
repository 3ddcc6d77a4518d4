"""The least a turn can be: a conversation that does one activity for each message, and nothing else.

A module of its own that only defines, because Temporal's sandbox imports again what defines a workflow.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

__all__ = ["FloorWorkflow", "floor_step"]


@activity.defn
async def floor_step(text: str) -> str:
    return text


@workflow.defn
class FloorWorkflow:
    def __init__(self) -> None:
        self._closed = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._closed)

    @workflow.update
    async def say(self, text: str) -> str:
        return await workflow.execute_activity(floor_step, text, start_to_close_timeout=timedelta(seconds=20))

    @workflow.signal
    def close(self) -> None:
        self._closed = True
