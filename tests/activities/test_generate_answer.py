"""The step around its engine: a model that loads for long, and one that this worker does not hold."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.generate_answer import GenerateAnswerStep, ServedModel
from activities.heartbeats import GenerationProgress
from activities.step_interceptor import StepInterceptor
from activities.stream_events import StreamEvents
from dialogue.faults import EngineLost, ModelFault, UnknownModel
from dialogue.messages import TurnKey
from dialogue.steps import Attempt, GenerateAnswer, GeneratedAnswer
from model_runtime.keeper import EngineKeeper
from records.token_log_sqlite import SqliteTokenLog

_UNUSED: Any = None
_HEARTBEAT = 0.5
_REQUEST = GenerateAnswer(
    turn=TurnKey(conversation="c", turn=1, tenant="default"), try_number=1, question="How long?", language="en",
    retrieved=False, temperature=0, top_p=1, max_new_tokens=8, seed=1, model="tiny", model_digest="d" * 64,
)  # fmt: skip


class _SlowEngine:
    """Loads for three heartbeat timeouts; asked then what it is, it fails with words of its own."""

    starts = 0

    async def close(self) -> None: ...

    async def start(self) -> None:
        self.starts += 1
        await asyncio.sleep(3 * _HEARTBEAT)  # what is tested is that this much time passes

    async def describe(self) -> None:
        raise ModelFault("loaded at last")


class _LostEngine:
    """Tells everyone who waits for it the one fault, as an engine does whose process died."""

    def __init__(self) -> None:
        self.asked, self.lost = asyncio.Semaphore(0), asyncio.get_running_loop().create_future()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def describe(self) -> None:
        self.asked.release()
        await asyncio.shield(self.lost)


def _step(engine: Any, name: str = "tiny", digest: str = "d" * 64) -> GenerateAnswerStep:
    served = ServedModel(name, digest, _UNUSED, EngineKeeper(engine))
    return GenerateAnswerStep({name: served}, _UNUSED, _UNUSED, _UNUSED, identity="w")


@workflow.defn(name="Generate")
class _Generate:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            "generate_answer",
            _REQUEST,
            result_type=GeneratedAnswer,
            start_to_close_timeout=timedelta(seconds=20),
            heartbeat_timeout=timedelta(seconds=_HEARTBEAT),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


async def test_heartbeats_flow_while_the_model_loads(temporal: WorkflowEnvironment, tmp_path: Path) -> None:
    """Longer than the heartbeat timeout, on a real server: it is one attempt, and goes on where loading ended. When it
    then fails, its failure tells of the attempt."""
    log = SqliteTokenLog(tmp_path / "log.db")
    engine, queue = _SlowEngine(), f"test-{uuid.uuid4().hex[:8]}"
    worker = Worker(
        temporal.client,
        task_queue=queue,
        workflows=[_Generate],
        activities=[_step(engine).generate_answer],
        interceptors=[StepInterceptor("generation", "w", StreamEvents(log))],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        with pytest.raises(WorkflowFailureError) as raised:
            await temporal.client.execute_workflow(_Generate.run, id=queue, task_queue=queue)
    failed = raised.value.cause
    assert isinstance(failed, ActivityError)
    assert isinstance(failed.cause, ApplicationError), failed.cause
    assert failed.cause.message == "loaded at last"
    (attempt,) = failed.cause.details[0]["attempts"]
    assert (attempt["number"], attempt["worker"], attempt["failure"]) == (1, "w", "model: loaded at last")
    assert attempt["ended"] - attempt["started"] > 3 * _HEARTBEAT
    await log.close()
    assert engine.starts == 1


@pytest.mark.parametrize("held", [{"name": "another"}, {"digest": "e" * 64}])
async def test_a_model_this_worker_does_not_hold(held: dict[str, str]) -> None:
    """Another name, or other weights under the same: the line says what is asked, what is held and the way out."""
    with pytest.raises(UnknownModel, match=r"does not hold tiny@dddddddddddd but .*Start a worker with that model"):
        await ActivityEnvironment().run(_step(_UNUSED, **held).generate_answer, _REQUEST)


async def test_turns_that_lose_one_engine_each_tell_their_own_attempts() -> None:
    """Its fault is one object for all who were in its batch, of whatever tenants."""
    engine = _LostEngine()
    step = _step(engine)
    before = GenerationProgress(
        attempts=(Attempt(number=1, worker="gpu-1", started=1.0, ended=2.0, tokens=41, failure="engine-lost: x"),)
    )

    async def failed(tenant: str, *heartbeats: GenerationProgress) -> list[tuple[int, str, int]]:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, attempt=1 + len(heartbeats), heartbeat_details=heartbeats
        )
        request = _REQUEST.model_copy(update={"turn": TurnKey(conversation=tenant, turn=1, tenant=tenant)})
        with pytest.raises(EngineLost, match=r"^it was killed$") as raised:
            await environment.run(step.generate_answer, request)
        return [(each["number"], each["worker"], each["tokens"]) for each in raised.value.details["attempts"]]

    async with asyncio.TaskGroup() as group:
        ours = group.create_task(failed("acme", before))
        theirs = group.create_task(failed("other"))
        for _ in range(2):
            await engine.asked.acquire()
        engine.lost.set_exception(EngineLost("it was killed"))
    assert ours.result() == [(1, "gpu-1", 41), (2, "w", 0)]
    assert theirs.result() == [(1, "w", 0)]
