"""A run whose worker stopped beside it is thrown away; whenever Python collects it, it does nothing any more."""

from __future__ import annotations

import asyncio
import gc
import uuid
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from dialogue.messages import DialogueStart
from records.plugin import parley_plugin
from tests.support.scripted_steps import ScriptedSteps, scripted_worker

# how often a worker is asked is not the run's own doing
_TASKS = {number for name, number in EventType.items() if name.startswith("EVENT_TYPE_WORKFLOW_TASK_")}


class _CollectsBefore(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 (the SDK's name)
        gc.collect()
        return await super().execute_workflow(input)


class _Collects(Interceptor):
    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002
        return _CollectsBefore


async def _started(client: Client, steps: ScriptedSteps, question: str) -> str:
    name = f"dlg-{uuid.uuid4().hex[:12]}"
    start = DialogueStart(question=question, tenant="acme", user="ann")
    await client.start_workflow("DialogueWorkflow", start, id=name, task_queue=steps.queue)
    return name


async def _stopped_beside_a_question(client: Client) -> None:
    steps = ScriptedSteps(f"test-{uuid.uuid4().hex[:8]}")
    async with scripted_worker(client, steps):
        await _started(client, steps, "slow: how long?")
        await asyncio.wait_for(steps.running.wait(), 20)


async def test_it_shows_nothing_in_another_run(temporal: WorkflowEnvironment) -> None:
    """Where it is collected while another one runs, the events of that one are those that it has alone."""
    address = temporal.client.service_client.config.target_host
    client = await Client.connect(address, plugins=[parley_plugin()])
    steps, types = ScriptedSteps(f"test-{uuid.uuid4().hex[:8]}"), list[list[int]]()
    gc.collect()
    gc.disable()  # until the other one runs
    try:
        async with scripted_worker(client, steps, interceptors=[_Collects()]):
            for beside in (False, True):
                if beside:
                    await _stopped_beside_a_question(client)
                name = await _started(client, steps, "How long?")
                await client.get_workflow_handle(name).result()
                history = await client.get_workflow_handle(name).fetch_history()
                types.append([event.event_type for event in history.events if event.event_type not in _TASKS])
    finally:
        gc.enable()
    assert types[0] == types[1]
