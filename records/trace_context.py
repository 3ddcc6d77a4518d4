"""Carries a caller's W3C trace context through Temporal: from the call into the workflow, from there into its steps.

It travels as Temporal's own OpenTelemetry interceptors carry it (header ``_tracer-data``, a JSON object with
``traceparent`` and ``tracestate``), so that whoever adds those reads the same trace. Nothing is made here: a call
without one leaves no header, and headers are no part of a history's commands, so old histories replay.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from structlog.contextvars import bind_contextvars, bound_contextvars, unbind_contextvars
from temporalio import client, worker
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

__all__ = ["TraceContext", "TraceContextInterceptor", "current_trace", "parse_trace"]

HEADER = "_tracer-data"
MAX_STATE = 512
"""Characters of ``tracestate`` that are passed on; the standard asks for no more."""
# A later version may append fields after another dash; version ff is never used, ids of zeros mean nothing.
_PARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_VISIBLE = re.compile(r"[\x20-\x7e\t]*")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One caller's place in a trace."""

    traceparent: str
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        return self.traceparent.split("-")[1]


current_trace: ContextVar[TraceContext | None] = ContextVar("parley_trace", default=None)
"""The trace that what happens now belongs to."""


def parse_trace(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """``None`` for what is no trace context of the standard; a ``tracestate`` that cannot be used is left out."""
    found = _PARENT.fullmatch((traceparent or "").strip(" \t"))
    if found is None or (found[1] == "00" and found[5]):
        return None
    state = (tracestate or "").strip(" \t")
    if len(state) > MAX_STATE or not _VISIBLE.fullmatch(state):
        state = ""
    return TraceContext(found[0], state)


class TraceContextInterceptor(client.Interceptor, worker.Interceptor):
    """For client and workers alike; the plugin has it."""

    def intercept_client(self, next: client.OutboundInterceptor) -> client.OutboundInterceptor:  # noqa: A002 (the SDK's name)
        return _Calls(next)

    def intercept_activity(self, next: worker.ActivityInboundInterceptor) -> worker.ActivityInboundInterceptor:  # noqa: A002
        return _Activity(next)

    def workflow_interceptor_class(
        self,
        input: worker.WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[worker.WorkflowInboundInterceptor]:
        return _Workflow


def _with_trace(headers: Mapping[str, Payload]) -> Mapping[str, Payload]:
    trace = current_trace.get()
    if trace is None:
        return headers
    carrier = {"traceparent": trace.traceparent}
    if trace.tracestate:
        carrier["tracestate"] = trace.tracestate
    return {**headers, HEADER: PayloadConverter.default.to_payloads([carrier])[0]}


def _trace_of(headers: Mapping[str, Payload]) -> TraceContext | None:
    """Anybody may start a workflow, so the header is checked as one from outside is."""
    payload = headers.get(HEADER)
    if payload is None:
        return None
    try:
        carrier: Any = PayloadConverter.default.from_payloads([payload])[0]
        return parse_trace(carrier["traceparent"], carrier.get("tracestate"))
    except Exception:  # whatever a foreign client put there costs the trace and not the turn
        return None


class _Calls(client.OutboundInterceptor):
    async def start_workflow(self, input: client.StartWorkflowInput) -> client.WorkflowHandle[Any, Any]:  # noqa: A002
        input.headers = _with_trace(input.headers)
        return await super().start_workflow(input)

    async def signal_workflow(self, input: client.SignalWorkflowInput) -> None:  # noqa: A002
        input.headers = _with_trace(input.headers)
        await super().signal_workflow(input)

    async def start_workflow_update(
        self,
        input: client.StartWorkflowUpdateInput,  # noqa: A002
    ) -> client.WorkflowUpdateHandle[Any]:
        input.headers = _with_trace(input.headers)
        return await super().start_workflow_update(input)

    async def start_update_with_start_workflow(
        self,
        input: client.StartWorkflowUpdateWithStartInput,  # noqa: A002
    ) -> client.WorkflowUpdateHandle[Any]:
        for each in (input.start_workflow_input, input.update_workflow_input):
            each.headers = _with_trace(each.headers)
        return await super().start_update_with_start_workflow(input)


def _belongs_to(trace: TraceContext | None) -> None:
    """What this task of the workflow does, and what it writes to the log."""
    current_trace.set(trace)
    if trace is None:
        unbind_contextvars("trace_id")
    else:
        bind_contextvars(trace_id=trace.trace_id)


class _Workflow(worker.WorkflowInboundInterceptor):
    """Sets the trace for the task that runs the workflow or a handler; what those start inherits it."""

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Scheduled(outbound))

    async def execute_workflow(self, input: worker.ExecuteWorkflowInput) -> Any:  # noqa: A002
        _belongs_to(_trace_of(input.headers))
        return await super().execute_workflow(input)

    async def handle_signal(self, input: worker.HandleSignalInput) -> None:  # noqa: A002
        _belongs_to(_trace_of(input.headers))
        await super().handle_signal(input)

    async def handle_update_handler(self, input: worker.HandleUpdateInput) -> Any:  # noqa: A002
        _belongs_to(_trace_of(input.headers))
        return await super().handle_update_handler(input)


class _Scheduled(worker.WorkflowOutboundInterceptor):
    def start_activity(self, input: worker.StartActivityInput) -> Any:  # noqa: A002
        input.headers = _with_trace(input.headers)
        return super().start_activity(input)


class _Activity(worker.ActivityInboundInterceptor):
    """Log lines of the step hold ``trace_id``."""

    async def execute_activity(self, input: worker.ExecuteActivityInput) -> Any:  # noqa: A002
        trace = _trace_of(input.headers)
        if trace is None:
            return await super().execute_activity(input)
        current_trace.set(trace)
        with bound_contextvars(trace_id=trace.trace_id):
            return await super().execute_activity(input)
