"""What every step has in common: its faults as Temporal carries them, its place in the log, its time, its event,
the sign that its worker lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.heartbeats import living
from activities.step_span import of_result, of_step
from activities.stream_events import StreamEvents
from dialogue.faults import ParleyFault
from dialogue.messages import TurnKey
from dialogue.steps import StepDone, StepResult
from records.trace_context import current_trace
from records.tracing import derived_trace, span, traced

__all__ = ["StepInterceptor"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")


class StepInterceptor(Interceptor):
    """One worker's: ``pool`` is its pool, ``identity`` its name in Temporal."""

    def __init__(self, pool: str, identity: str, events: StreamEvents) -> None:
        self.pool = pool
        self.identity = identity
        self.events = events

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (the SDK's name)
        return _StepInbound(next, self)


class _StepInbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, worker: StepInterceptor) -> None:
        super().__init__(inner)
        self._worker = worker

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (the SDK's name)
        info = activity.info()
        turn: TurnKey | None = getattr(input.args[0], "turn", None) if input.args else None
        context = {"step": info.activity_type, "workflow_id": info.workflow_id, "attempt": info.attempt}
        if isinstance(turn, TurnKey):
            context |= {"conversation": turn.conversation, "turn": turn.turn, "tenant": turn.tenant}
        else:
            turn = None
        started = time.perf_counter()
        with (
            _in_trace(info, turn),
            span(info.activity_type, "consumer", of_step(info, turn, self._worker.pool)) as told,
            bound_contextvars(**context, **_trace_id()),
        ):
            if turn is not None:
                data = {"step": info.activity_type, "attempt": info.attempt}
                await self._worker.events.publish(
                    turn, "step", data, key=f"{info.activity_type}:{info.activity_id}:{info.attempt}"
                )
            try:
                async with living():
                    result = await super().execute_activity(input)
            except asyncio.CancelledError:
                log.info("step cancelled", why=_why_cancelled())
                raise
            except ParleyFault as fault:
                log.warning("step failed", fault=fault.type, reason=fault.message)
                # Without its causes: with SQLAlchemy's, the server keeps "Failure exceeds size limit" (4 kB) and
                # neither the type nor the reason. What a driver said stands in the fault's own message.
                told = [{"attempts": fault.details["attempts"]}] if "attempts" in fault.details else []
                raise ApplicationError(
                    fault.message, *told, type=fault.type, non_retryable=not fault.retryable
                ) from None
            milliseconds = round((time.perf_counter() - started) * 1000, 3)
            activity.metric_meter().create_histogram_float(
                "parley_step_milliseconds", "Time of a step's own work", "ms"
            ).record(milliseconds, {"step": info.activity_type})
            told.note(of_result(result))
            log.info("step done", milliseconds=milliseconds)
        if isinstance(result, StepResult):
            done = StepDone(
                attempt=info.attempt, worker=self._worker.identity, pool=self._worker.pool, milliseconds=milliseconds
            )
            return result.model_copy(update={"done": done})
        return result


@contextmanager
def _in_trace(info: activity.Info, turn: TurnKey | None) -> Generator[None]:
    """Where spans are made and whoever asked brought no trace: one that all steps of the turn find by themselves."""
    if not traced() or current_trace.get() is not None:
        yield
        return
    token = current_trace.set(derived_trace(turn.stream if turn else f"{info.workflow_run_id}"))
    try:
        yield
    finally:
        current_trace.reset(token)


def _trace_id() -> dict[str, str]:
    """For the lines of the step; none where it belongs to no trace."""
    trace = current_trace.get()
    return {"trace_id": trace.trace_id} if trace else {}


def _why_cancelled() -> str:
    """``cancel_requested``, ``not_found`` (another attempt took its place), ``worker_shutdown`` and their like."""
    details = activity.cancellation_details()
    return ", ".join(name for name, holds in asdict(details).items() if holds) if details else ""
