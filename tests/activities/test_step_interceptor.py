"""Faults cross to Temporal with their type and their retry decision; a lost log never costs the step."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.heartbeats import KEPT, in_failure
from activities.step_interceptor import StepInterceptor
from activities.stream_events import StreamEvents
from dialogue.faults import RecordsUnavailable, all_faults, fault_named
from dialogue.messages import TurnKey
from dialogue.steps import Attempt, RecognisedIntent, RecogniseIntent
from records.token_log_sqlite import SqliteTokenLog
from replay.events import details_of

TEN = timedelta(seconds=10)
BRIEF = timedelta(seconds=1)
_MANY = [
    Attempt(
        number=number, worker=f"generation@gpu-worker-{number}.example.internal:12345", started=1_790_000_000.123456,
        ended=1_790_000_600.654321, tokens=12_345, resumed_at=12_345, failure="engine-lost: " + "引擎" * 500,
    )
    for number in range(1, KEPT + 1)
]  # fmt: skip


@activity.defn(name="raise_fault")
async def raise_fault(type_: str) -> None:
    raise fault_named(type_, "why")


@activity.defn(name="raise_deep")
async def raise_deep() -> None:
    """A fault at the end of a chain of causes, each with more to say than Temporal keeps of a failure; and of as many
    attempts as a generation tells of, each with a long reason."""
    try:
        raise OSError("driver " * 2000)
    except OSError as error:
        raise RecordsUnavailable(
            "records.database: cannot be used: disk I/O error. Make room on its disk.", attempts=in_failure(_MANY)
        ) from error


@workflow.defn(name="Deep")
class Deep:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(raise_deep, start_to_close_timeout=TEN)


@activity.defn(name="recognise_intent")
async def recognise_intent(request: RecogniseIntent) -> RecognisedIntent:
    return RecognisedIntent(intent="x", confidence=1, route="retrieve", model="m")


@workflow.defn(name="Faults")
class Faults:
    """Calls the activity once for each type and gives what it heard."""

    @workflow.run
    async def run(self, types: list[str]) -> list[tuple[str, str, bool]]:
        once = RetryPolicy(maximum_attempts=1)
        calls = [
            workflow.execute_activity(raise_fault, each, schedule_to_close_timeout=TEN, retry_policy=once)
            for each in types
        ]
        heard: list[tuple[str, str, bool]] = []
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            cause = outcome.cause if isinstance(outcome, ActivityError) else None
            if isinstance(cause, ApplicationError):
                heard.append((cause.type or "", cause.message, cause.non_retryable))
        return heard


@workflow.defn(name="OneStep")
class OneStep:
    @workflow.run
    async def run(self) -> RecognisedIntent:
        request = RecogniseIntent(turn=TurnKey(conversation="c", turn=1, tenant="t"), text="hi", language="en")
        return await workflow.execute_activity(recognise_intent, request, start_to_close_timeout=TEN)


@activity.defn(name="review_answer")
async def slow_step() -> int:
    """Takes three times its heartbeat timeout, and heartbeats nothing by itself."""
    await asyncio.sleep(3 * BRIEF.total_seconds())
    return activity.info().attempt


@activity.defn(name="generate_answer")
async def slow_generation() -> list[str]:
    """Loses its first attempt after a heartbeat with details; gives what the next one is told of it."""
    if activity.info().attempt == 1:
        activity.heartbeat("attempt 1")
        await asyncio.sleep(3 * BRIEF.total_seconds())
    return list(activity.info().heartbeat_details)


@workflow.defn(name="Living")
class Living:
    @workflow.run
    async def run(self) -> tuple[int, list[str]]:
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=10))
        times = {"schedule_to_close_timeout": TEN, "heartbeat_timeout": BRIEF, "retry_policy": retry}
        return await workflow.execute_activity(slow_step, **times), await workflow.execute_activity(
            slow_generation, **times
        )


async def _run(environment: WorkflowEnvironment, events: StreamEvents, name: str, *arguments: object, result: object):
    queue = f"steps-{uuid.uuid4().hex[:8]}"
    worker = Worker(
        environment.client,
        task_queue=queue,
        workflows=[Faults, OneStep, Deep, Living],
        activities=[raise_fault, recognise_intent, raise_deep, slow_step, slow_generation],
        interceptors=[StepInterceptor("dialogue", "tester", events)],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        return await environment.client.execute_workflow(
            name, args=list(arguments), id=queue, task_queue=queue, result_type=result
        )


async def test_every_fault_crosses_with_its_type_and_its_retry_decision(
    temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    """What the class says is what Temporal is told."""
    log = SqliteTokenLog(tmp_path / "log.db")
    types = sorted(all_faults())
    heard = await _run(temporal, StreamEvents(log), "Faults", types, result=list[tuple[str, str, bool]])
    assert heard == [(each, "why", not all_faults()[each].retryable) for each in types]
    await log.close()


async def test_an_operator_sees_the_type_and_the_reason_of_what_is_attempted_again(
    temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    """The server keeps 4 kB of a pending activity's failure: a driver's long chain of causes must not fill them."""
    log = SqliteTokenLog(tmp_path / "log.db")
    running = asyncio.create_task(_run(temporal, StreamEvents(log), "Deep", result=None))
    seen = None
    async with asyncio.timeout(20):
        while seen is None:
            async for each in temporal.client.list_workflows("WorkflowType = 'Deep' AND ExecutionStatus = 'Running'"):
                handle = temporal.client.get_workflow_handle(each.id)
                pending = (await handle.describe()).raw_description.pending_activities
                seen = next((one.last_failure for one in pending if one.HasField("last_failure")), None)
            await asyncio.sleep(0.02)
    assert seen.application_failure_info.type == "records-unavailable"
    assert seen.message == "records.database: cannot be used: disk I/O error. Make room on its disk."
    attempts = details_of(seen)["attempts"]
    assert [each["number"] for each in attempts] == [each.number for each in _MANY]
    assert all(each["failure"].startswith("engine-lost: 引擎") for each in attempts)
    await handle.terminate()
    with pytest.raises(WorkflowFailureError):
        await running
    await log.close()


@pytest.mark.parametrize("lost", [False, True])
async def test_a_result_says_where_it_was_made_and_a_lost_log_costs_nothing(
    temporal: WorkflowEnvironment, tmp_path: Path, lost: bool
) -> None:
    """Attempt, pool and worker are filled in; without a log the step runs all the same."""
    log = SqliteTokenLog(tmp_path / "log.db")
    if lost:
        await log.close()
    result = await _run(temporal, StreamEvents(log), "OneStep", result=RecognisedIntent)
    assert (result.done.attempt, result.done.pool, result.done.worker) == (1, "dialogue", "tester")
    assert result.done.milliseconds > 0
    if not lost:
        assert [event.data["step"] for event in await log.read("c/0001")] == ["recognise_intent"]
        await log.close()


async def test_a_step_says_that_its_worker_lives_and_a_generation_says_so_itself(
    temporal: WorkflowEnvironment, tmp_path: Path
) -> None:
    """A step longer than its heartbeat timeout is done at the first attempt; a generation's details stay its own."""
    log = SqliteTokenLog(tmp_path / "log.db")
    attempt, details = await _run(temporal, StreamEvents(log), "Living", result=tuple[int, list[str]])
    assert attempt == 1
    assert details == ["attempt 1"]
    await log.close()
