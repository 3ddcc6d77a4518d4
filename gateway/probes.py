"""Whether the process is alive, and whether a message would be answered now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from gateway.wire import Check, Readiness
from settings.schema import SERVICES, Settings

__all__ = ["readiness"]

_ASK_SECONDS = timedelta(seconds=3)
_FRESH_SECONDS = 90.0
"""A worker's poll lasts a minute at most; Temporal lists a dead worker for five."""


@dataclass(frozen=True, slots=True)
class _Queue:
    pool: str
    task_queue: str
    workflows: bool

    @property
    def kind(self) -> TaskQueueType.ValueType:
        return TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if self.workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


async def readiness(client: Client, settings: Settings) -> Readiness:
    """Asks Temporal who polls each task queue that a turn needs."""
    asked = list(dict.fromkeys(_queues(settings)))
    answers = await asyncio.gather(*(_polled(client, queue) for queue in asked), return_exceptions=True)
    faults = [answer for answer in answers if isinstance(answer, BaseException)]
    for fault in faults:
        if not isinstance(fault, RPCError):
            raise fault
    if faults:
        return Readiness(ready=False, checks=(Check(name="temporal", ok=False, detail=_unreachable(settings, faults)),))
    checks = [Check(name="temporal", ok=True)]
    for pool in dict.fromkeys(queue.pool for queue in asked):
        missing = [queue for queue, polled in zip(asked, answers, strict=True) if queue.pool == pool and not polled]
        checks.append(Check(name=f"pool {pool}", ok=not missing, detail=_missing(pool, missing)))
    return Readiness(ready=all(check.ok for check in checks), checks=tuple(checks))


def _queues(settings: Settings) -> Iterator[_Queue]:
    for service in SERVICES:
        pool = settings.pool_serving(service)
        yield _Queue(pool, settings.queue_serving(service), workflows=service == "workflows")
    for model in (settings.model, *settings.models.values()):
        if model.task_queue:
            yield _Queue(settings.pool_serving("generate_answer"), model.task_queue, workflows=False)


async def _polled(client: Client, queue: _Queue) -> bool:
    response = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=queue.task_queue),
            task_queue_type=queue.kind,
        ),
        timeout=_ASK_SECONDS,
    )
    oldest = time.time() - _FRESH_SECONDS
    return any(poller.last_access_time.seconds >= oldest for poller in response.pollers)


def _missing(pool: str, queues: list[_Queue]) -> str:
    if not queues:
        return ""
    names = ", ".join(dict.fromkeys(queue.task_queue for queue in queues))
    return f"no worker polls the task queue {names}. Start one with `parley worker {pool}`."


def _unreachable(settings: Settings, faults: list[BaseException]) -> str:
    if any(isinstance(fault, RPCError) and fault.status is RPCStatusCode.NOT_FOUND for fault in faults):
        return f"temporal.namespace: the server at {settings.temporal.address} has no {settings.temporal.namespace}."
    return f"no Temporal server answers at {settings.temporal.address}. Start it, or set temporal.address."
