"""The least that Temporal asks for: a conversation that does nothing but run activities for each message, on strings.

A module of its own that only defines, because Temporal's sandbox imports again what defines a workflow.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

__all__ = ["BareStepsWorkflow", "FloorWorkflow", "floor_step"]

SIX = 6


@activity.defn
async def floor_step(text: str) -> str:
    return text


async def _step(text: str) -> str:
    return await workflow.execute_activity(floor_step, text, start_to_close_timeout=timedelta(seconds=20))


@workflow.defn
class FloorWorkflow:
    """One activity a message."""

    def __init__(self) -> None:
        self._closed = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._closed)

    @workflow.update
    async def say(self, text: str) -> str:
        return await _step(text)

    @workflow.signal
    def close(self) -> None:
        self._closed = True


@workflow.defn
class BareStepsWorkflow:
    """Six activities a message, one after another: the shape of a turn with nothing of ours in it."""

    def __init__(self) -> None:
        self._closed = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._closed)

    @workflow.update
    async def say(self, text: str) -> str:
        for _ in range(SIX):
            text = await _step(text)
        return text

    @workflow.signal
    def close(self) -> None:
        self._closed = True
