"""The activities of a rerun: what was recorded where nothing changed, the site's own code where something did.

A step gives its recorded result when its own work is not changed and what comes in is what came in then. So a change
runs again what depends on it and nothing else, as a build does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from activities.heartbeats import living
from dialogue.faults import ParleyFault
from dialogue.messages import TurnKey
from dialogue.plan import ModelPlan
from dialogue.steps import (
    GenerateAnswer,
    QuotePassages,
    ReceivedInput,
    ReceiveInput,
    RecogniseIntent,
    RetrieveKnowledge,
    ReturnAnswer,
    ReviewAnswer,
    StepDone,
    StepResult,
)
from replay.changes import Changes, rerun_plan
from replay.rerun_parts import RerunParts
from replay.rerun_people import plan_of_a_rerun
from replay.turns import Turn, TurnStep, parsed

__all__ = ["Rerun", "RerunSteps"]

_NOT_COMPARED = {"turn", "caller", "message_id", "said_at", "received_at", "address", "record", "user", "masked"}
"""Of a step's input: what says where and when, and not what."""

_BEAT_SECONDS = 0.5


@dataclass
class Rerun:
    """One turn that is run again. ``again``: the activities that really ran, in order."""

    turn: Turn
    changes: Changes
    again: list[str] = field(default_factory=list[str])
    failures: list[ParleyFault] = field(default_factory=list[ParleyFault])

    @property
    def key(self) -> TurnKey:
        return TurnKey(conversation=self.turn.conversation, turn=self.turn.turn, tenant=self.turn.tenant)


class RerunSteps:
    """``queue`` is the one that everything runs on; ``models`` are this site's by alias."""

    def __init__(self, parts: RerunParts, models: dict[str, ModelPlan], queue: str) -> None:
        self._parts, self._models, self._queue = parts, models, queue
        self.reruns: dict[str, Rerun] = {}
        """By the workflow id of the rerun."""

    def activities(self) -> list[Any]:
        return [
            self.receive_input,
            self.recognise_intent,
            self.retrieve_knowledge,
            self.generate_answer,
            self.quote_passages,
            self.review_answer,
            self.return_answer,
        ]

    @activity.defn(name="receive_input")
    async def receive_input(self, request: ReceiveInput) -> Any:
        return self._planned(await self._step("receive_input", request))

    @activity.defn(name="recognise_intent")
    async def recognise_intent(self, request: RecogniseIntent) -> Any:
        return await self._step("recognise_intent", request)

    @activity.defn(name="retrieve_knowledge")
    async def retrieve_knowledge(self, request: RetrieveKnowledge) -> Any:
        result = await self._step("retrieve_knowledge", request)
        left_out = self._rerun.changes.without_passages
        if not left_out:
            return result
        found: dict[str, Any] = result if isinstance(result, dict) else result.model_dump(mode="json")
        return {**found, "passages": [each for each in found["passages"] if each["id"] not in left_out]}

    @activity.defn(name="generate_answer")
    async def generate_answer(self, request: GenerateAnswer) -> Any:
        return await self._step("generate_answer", request)

    @activity.defn(name="quote_passages")
    async def quote_passages(self, request: QuotePassages) -> Any:
        return await self._step("quote_passages", request)

    @activity.defn(name="review_answer")
    async def review_answer(self, request: ReviewAnswer) -> Any:
        return await self._step("review_answer", request)

    @activity.defn(name="return_answer")
    async def return_answer(self, request: ReturnAnswer) -> Any:
        return await self._step("return_answer", request)

    @property
    def _rerun(self) -> Rerun:
        return self.reruns[activity.info().workflow_id or ""]

    async def _step(self, name: str, request: Any) -> Any:
        rerun = self._rerun
        recorded = None if name in rerun.changes.steps else _recorded(rerun.turn, name, request)
        if recorded is not None:
            return recorded.result
        rerun.again.append(name)
        began = time.perf_counter()
        request = _as_it_came(rerun, name, request)
        try:
            async with _beating():
                real = await self._real(name, request)
            async with living():
                result = await real(request)
        except ParleyFault as fault:
            rerun.failures.append(fault)
            raise ApplicationError(fault.message, type=fault.type, non_retryable=not fault.retryable) from None
        if not isinstance(result, StepResult):
            return result
        took = round((time.perf_counter() - began) * 1000, 3)
        return result.model_copy(update={"done": StepDone(worker="replay", pool="replay", milliseconds=took)})

    async def _real(self, name: str, request: Any) -> Any:
        if name == "generate_answer":
            return await self._parts.generating(request)
        rerun = self._rerun
        return await self._parts.step(name, rerun.changes, tenant=rerun.turn.tenant, snapshot=rerun.turn.snapshot)

    def _planned(self, result: Any) -> Any:
        """The recorded plan with the changes; of a policy that was changed, its own parts out of today's plan."""
        received = result if isinstance(result, ReceivedInput) else parsed(result, ReceivedInput)
        if received is None:
            return result
        plan, changes = self._rerun.turn.plan or received.plan, self._rerun.changes
        if changes.policy is not None:
            judged = ("policy", "policy_digest", "texts", "review")
            plan = plan.model_copy(update={name: getattr(received.plan, name) for name in judged})
        plan = plan_of_a_rerun(self._rerun.turn, rerun_plan(plan, changes, self._models, self._queue))
        return received.model_copy(update={"plan": plan})


@asynccontextmanager
async def _beating() -> AsyncGenerator[None]:
    """Says that this worker lives while a step's parts are built: a model may take minutes to load."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(_BEAT_SECONDS)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()


def _as_it_came(rerun: Rerun, name: str, request: Any) -> Any:
    """The request with the recorded turn's name; the first step's also with who vouched for it, and when. To an engine
    each rerun has a name of its own: several of one turn run side by side."""
    update: dict[str, Any] = {} if name == "generate_answer" else {"turn": rerun.key}
    first = next(iter(rerun.turn.of(name)), None)
    came = parsed(first.input, ReceiveInput) if name == "receive_input" and first else None
    if came is not None:
        update |= {"caller": came.caller, "said_at": came.said_at, "user": came.user, "message_id": came.message_id}
    return request.model_copy(update=update)


def _recorded(turn: Turn, name: str, request: BaseModel) -> TurnStep | None:
    """The recorded step that had the same input and ended well. Fields that came after the recording say nothing."""
    now = _comparable(request)
    for step in turn.of(name):
        given = parsed(step.input, type(request)) if step.state == "completed" and step.result is not None else None
        if given is None:
            continue
        then = _comparable(given)
        later = then.keys() - step.input.keys()
        if {name: value for name, value in now.items() if name not in later} == {
            name: value for name, value in then.items() if name not in later
        }:
            return step
    return None


def _comparable(request: BaseModel) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude=_NOT_COMPARED)


class AsItWasScheduled(Interceptor):
    """Tells a step that it was scheduled when the recorded one was: R1's prompt holds the day."""

    def __init__(self, steps: RerunSteps) -> None:
        self._steps = steps

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (the SDK's name)
        return _Inbound(next, self._steps)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, steps: RerunSteps) -> None:
        super().__init__(inner)
        self._steps = steps

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Outbound(outbound, self._steps))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (the SDK's name)
        return await super().execute_activity(input)


class _Outbound(ActivityOutboundInterceptor):
    def __init__(self, inner: ActivityOutboundInterceptor, steps: RerunSteps) -> None:
        super().__init__(inner)
        self._steps = steps

    def info(self) -> activity.Info:
        info = super().info()
        rerun = self._steps.reruns.get(info.workflow_id or "")
        recorded = rerun.turn.of(info.activity_type) if rerun else ()
        if not recorded:
            return info
        return dataclasses.replace(info, scheduled_time=datetime.fromtimestamp(recorded[0].scheduled, UTC))
