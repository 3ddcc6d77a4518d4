"""A tenant's priority decides whose step takes the next free slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.common import Priority
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from dialogue.messages import Say
from dialogue.plan import TurnPlan
from dialogue.steps import ReceiveInput
from tests.support.scripted_plan import scripted_plan
from tests.support.servers import dev_server
from tests.workflows.conftest import Site

_ONE_PARTITION = tuple(
    part
    for which in ("Read", "Write")
    for part in ("--dynamic-config-value", f"matching.numTaskqueue{which}Partitions=1")
)
"""Each partition of a task queue has an order of its own: exact is that of one."""
_PRIORITIES = {"low": 5, "high": 1}


@pytest.fixture
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """A server of these tests alone, on which ``site`` stands."""
    async with await dev_server(*_ONE_PARTITION, strict=True) as environment:
        yield environment


def _planner(queue: str, answering: str) -> Callable[[ReceiveInput], TurnPlan]:
    """Answers are made on a queue of their own; the tenant ``old`` has a plan of before there were priorities."""

    def plan(request: ReceiveInput) -> TurnPlan:
        made = scripted_plan(request, queue, human_timeout=60, max_seconds=600, steps={})
        model = made.model.model_copy(update={"task_queue": answering})
        return made.model_copy(update={"model": model, "priority": _PRIORITIES.get(request.turn.tenant)})

    return plan


async def _waiting(client: Client, queue: str) -> int:
    """How many activities wait on the queue, as the server says."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        report_stats=True,
    )
    return (await client.workflow_service.describe_task_queue(request)).stats.approximate_backlog_count


@pytest.mark.parametrize("late", ["high", pytest.param("old", marks=pytest.mark.full)])
async def test_a_high_priority_takes_the_next_free_slot(site: Site, late: str) -> None:
    """With one slot for answers, taken, and ten of low priority before it: it runs next, and also a turn whose plan
    names none, for that is the middle."""
    answering = f"{site.steps.queue}-answers"
    site.steps.planner = _planner(site.steps.queue, answering)
    slot = Worker(
        site.client, task_queue=answering, activities=[site.steps.generate_answer], max_concurrent_activities=1
    )

    def say(tenant: str, text: str) -> asyncio.Task[object]:
        message = Say(message_id=f"m-{tenant}", text=text, tenant=tenant)
        return asyncio.create_task(site.conversations.say(site.new(), message, fresh=True))

    async with slot, asyncio.timeout(60):
        turns = [say("low", "slow, please")]
        await site.steps.running.wait()
        turns += [say(tenant, "How long may I take?") for tenant in (*["low"] * 10, late)]
        while await _waiting(site.client, answering) < len(turns) - 1:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)
        site.steps.release.set()
        await asyncio.gather(*turns)
    order = [request.turn.tenant for request in site.steps.called("generate_answer")]
    assert order == ["low", late, *["low"] * 10]


async def test_every_step_behind_the_plan_carries_it(site: Site) -> None:
    """The first has none, for it makes the plan; the tenant's name is the fairness key, cut to what a server takes."""
    tenant = "a" * 100
    site.steps.planner = lambda request: _planner(site.steps.queue, site.steps.queue)(request).model_copy(
        update={"priority": 2}
    )
    conversation = site.new()
    await site.conversations.say(conversation, Say(message_id="m-1", text="How long?", tenant=tenant), fresh=True)
    history = await site.client.get_workflow_handle(conversation).fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes for event in history.events]
    told = [Priority._from_proto(each.priority) for each in scheduled if each.activity_id]  # pyright: ignore[reportPrivateUsage]
    assert told[0] == Priority.default
    assert told[1:] == [Priority(priority_key=2, fairness_key="a" * 64)] * 5
