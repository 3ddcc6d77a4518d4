"""A caller's trace goes with its message into the workflow and its steps; without one none is made."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp
from structlog.contextvars import get_contextvars
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import PayloadConverter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from gateway.app import create_app
from gateway.conversations import Conversations
from gateway.trace_context import TraceContextMiddleware
from records.trace_context import HEADER, MAX_STATE, current_trace, parse_trace
from tests.gateway.conftest import QUESTION, WEB_UI, http, settings_on
from tests.support.scripted_steps import ScriptedSteps, scripted_worker

FIRST, SECOND = (f"00-{digit * 32}-{digit * 16}-01" for digit in "12")


@dataclass
class Seen(Interceptor):
    """What each activity found bound to its log lines, and in its headers."""

    found: list[tuple[str, str | None, dict[str, str] | None]] = field(default_factory=list)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        seen = self

        class Looking(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
                payload = input.headers.get(HEADER)
                carried = PayloadConverter.default.from_payloads([payload])[0] if payload else None
                name = input.fn.__name__
                seen.found.append((name, get_contextvars().get("trace_id"), carried))
                return await super().execute_activity(input)

        return Looking(next)


@dataclass
class Traced:
    client: Client
    http: httpx.AsyncClient
    seen: Seen

    async def say(self, conversation: str | None = None, **headers: str) -> list[tuple[str | None, Any]]:
        """The distinct traces that the steps of this message saw."""
        self.seen.found.clear()
        body = {**QUESTION, "conversation": conversation} if conversation else QUESTION
        response = await self.http.post("/v1/chat", json=body, headers=headers)
        assert response.status_code == 200, response.text
        assert "traceparent" not in response.headers
        assert len(self.seen.found) >= 5
        found: list[tuple[str | None, Any]] = []
        for _, bound, carried in self.seen.found:
            if (bound, carried) not in found:
                found.append((bound, carried))
        return found


@pytest.fixture
async def traced(temporal: WorkflowEnvironment) -> AsyncIterator[Traced]:
    queue, seen = f"traced-{uuid.uuid4().hex[:8]}", Seen()
    steps = ScriptedSteps(queue)
    conversations = Conversations(temporal.client, task_queue=queue, web_ui=WEB_UI)
    app: ASGIApp = TraceContextMiddleware(create_app(conversations, settings_on(queue)))
    async with scripted_worker(temporal.client, steps, interceptors=[seen]), http(app) as client:  # type: ignore[arg-type]
        yield Traced(temporal.client, client, seen)


@pytest.mark.parametrize("kind", ["conversation", "dialogue"])
async def test_every_step_of_a_turn_belongs_to_its_callers_trace(traced: Traced, kind: str) -> None:
    """The next message of the conversation has a trace of its own, and one without leaves none."""
    conversation = f"conv-{uuid.uuid4().hex}" if kind == "conversation" else None
    state = "vendor=1,other=2"
    assert await traced.say(conversation, traceparent=FIRST, tracestate=state) == [
        ("1" * 32, {"traceparent": FIRST, "tracestate": state})
    ]
    assert await traced.say(conversation, traceparent=SECOND) == [("2" * 32, {"traceparent": SECOND})]
    assert await traced.say(conversation) == [(None, None)]


async def test_one_that_the_standard_does_not_know_is_none(traced: Traced) -> None:
    """The message is answered all the same."""
    assert await traced.say(traceparent="00-zz-zz-01") == [(None, None)]


async def test_a_foreign_clients_header_is_checked(traced: Traced) -> None:
    """What it put there costs the trace and not the turn."""
    from records import trace_context

    nonsense = [Payload(data=b"\xff"), PayloadConverter.default.to_payloads([["no", "object"]])[0]]
    nonsense += PayloadConverter.default.to_payloads([{"traceparent": "x\n" * 9}, {"traceparent": 5}])
    assert [trace_context._trace_of({HEADER: payload}) for payload in nonsense] == [None] * 4


@pytest.mark.parametrize(
    "written",
    [
        FIRST.upper().replace("00-", "0A-"),
        "ff" + FIRST[2:],
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        f"{FIRST}-more",
        f"{FIRST}\n{SECOND}",
        "",
    ],
)
def test_what_is_no_traceparent(written: str) -> None:
    """By version, by letter, by zeros, by length."""
    assert parse_trace(written) is None


def test_a_later_version_may_say_more() -> None:
    """It is passed on as it came."""
    later = f"cc{FIRST[2:]}-what-the-future-will-be-like"
    found = parse_trace(later)
    assert found is not None
    assert (found.traceparent, found.trace_id) == (later, "1" * 32)


@given(st.text(max_size=600), st.text(max_size=MAX_STATE + 50))
def test_whatever_comes_is_no_error(parent: str, state: str) -> None:
    """And what is passed on can stand in a header."""
    assert parse_trace(parent) is None or parent.isascii()
    found = parse_trace(FIRST, state)
    assert found is not None
    assert len(found.tracestate) <= MAX_STATE
    assert "\n" not in found.tracestate


async def test_the_gateways_own_lines_have_it_too() -> None:
    """For as long as the request lasts."""
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append((get_contextvars().get("trace_id"), current_trace.get()))

    headers = [(b"traceparent", FIRST.encode())]
    for given_headers in (headers, headers * 2, []):
        await TraceContextMiddleware(app)({"type": "http", "headers": given_headers}, None, None)  # type: ignore[arg-type]
    assert found == [("1" * 32, parse_trace(FIRST)), (None, None), (None, None)]
    assert "trace_id" not in structlog.contextvars.get_contextvars()
