"""Tasks wait in Temporal, not in the worker: a real server, a real worker, a real engine of two rows."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from model_runtime.keeper import EngineKeeper
from model_runtime.protocol import GenerationRequest, Sampling
from model_runtime.slot_engine import SlotEngine
from tests.model_runtime.conftest import model_folder
from workers.admission import row_tuner

__all__ = ["model_folder"]

ROWS = 2


@workflow.defn(sandboxed=False)
class OneGeneration:
    @workflow.run
    async def run(self, number: int) -> int:
        return await workflow.execute_activity(
            "generate", number, start_to_close_timeout=timedelta(seconds=60), result_type=int
        )


class Generating:
    """An activity that generates, and what it saw of the engine each time it began."""

    def __init__(self, keeper: EngineKeeper) -> None:
        self.keeper = keeper
        self.seen: list[int] = []

    @activity.defn
    async def generate(self, number: int) -> int:
        engine = await self.keeper.ready()
        capacity = await engine.capacity()
        self.seen.append(capacity.rows_busy + capacity.waiting)
        sampling = Sampling(max_new_tokens=8, watch=False)
        request = GenerationRequest(f"{number}-{uuid.uuid4().hex}", (1, 2, 3 + number), sampling=sampling)
        return sum([len(event.token_ids) async for event in engine.submit(request)])


@pytest.mark.parametrize("most", [1, 16])
async def test_no_more_tasks_are_taken_than_the_engine_has_rows_for(
    temporal: WorkflowEnvironment, model_folder: Path, most: int
) -> None:
    """Though the pool would allow sixteen; and no more than the pool allows, where that is less."""
    keeper = EngineKeeper(SlotEngine(model_folder, rows=ROWS, widths=(256,), threads=1))
    await keeper.start()
    generating, queue = Generating(keeper), f"rows-{uuid.uuid4().hex[:8]}"
    workflows = Worker(temporal.client, task_queue=queue, workflows=[OneGeneration])
    activities = Worker(
        temporal.client, task_queue=queue, activities=[generating.generate], tuner=row_tuner([keeper], most)
    )
    try:
        async with workflows, activities:
            made = await asyncio.gather(
                *(
                    temporal.client.execute_workflow(OneGeneration.run, n, id=f"{queue}-{n}", task_queue=queue)
                    for n in range(10)
                )
            )
        assert all(0 < count <= 8 for count in made)
        assert max(generating.seen) == min(ROWS, most) - 1  # of the others, when it began itself
    finally:
        await keeper.close()


async def test_an_engine_that_is_down_is_started_by_the_task_that_needs_it(
    temporal: WorkflowEnvironment, model_folder: Path
) -> None:
    """Its worker goes on taking tasks: nothing else would tell why it does not run."""
    keeper = EngineKeeper(SlotEngine(model_folder, rows=ROWS, widths=(256,), threads=1))
    generating, queue = Generating(keeper), f"rows-{uuid.uuid4().hex[:8]}"
    workflows = Worker(temporal.client, task_queue=queue, workflows=[OneGeneration])
    activities = Worker(
        temporal.client, task_queue=queue, activities=[generating.generate], tuner=row_tuner([keeper], 4)
    )
    try:
        async with workflows, activities:
            assert await temporal.client.execute_workflow(OneGeneration.run, 1, id=queue, task_queue=queue) > 0
    finally:
        await keeper.close()
