"""Spans are nothing until somebody collects them; then each has its place in the caller's trace, and no text."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError

from dialogue.faults import EngineLost, SettingsFault
from records.trace_context import TraceContext, current_trace, parse_trace
from records.tracing import derived_trace, exporting, span, span_between, traced
from settings.schema import TelemetrySettings
from tests.support.otlp_receiver import OtlpReceiver, otlp_receiver

CALLER = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiver:
        yield receiver


def test_off_nothing_of_it_is_imported() -> None:
    """Neither by a worker's nor by the gateway's code; a span changes nothing."""
    code = (
        "import sys, gateway.serve, workers.serving, records.tracing as t\n"
        "from settings.schema import TelemetrySettings\n"
        "with t.exporting(TelemetrySettings(), 'x', 'y'), t.span('a', 'server', {'b': 1}) as it:\n"
        "    it.note({'c': 2}); it.failed('d'); it.rename('e'); t.span_between('f', 1.0, 2.0)\n"
        "    assert not t.traced() and t.current_trace.get() is None\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("[]", 0), ended.stderr


def test_a_trace_goes_on_and_comes_back(receiver: OtlpReceiver) -> None:
    """A caller's span is the parent of the first, that of the next; where it stands is passed on as W3C has it."""
    token = current_trace.set(TraceContext(CALLER, "vendor=1"))
    with exporting(TelemetrySettings(otlp_endpoint=receiver.url), "gateway", "here:1"):
        assert traced()
        with span("outer", "server", {"parley.turn": 3, "parley.none": None}) as outer:
            place = current_trace.get()
            assert place is not None
            assert parse_trace(place.traceparent, place.tracestate) == place
            assert (place.trace_id, place.tracestate) == ("a" * 32, "vendor=1")
            with span("inner"):
                span_between("before", 10.0, 12.5, {"parley.tokens": 7})
            outer.rename("POST /v1/chat")
        assert current_trace.get() == TraceContext(CALLER, "vendor=1")
    current_trace.reset(token)
    assert not traced()
    assert receiver.paths == ["/v1/traces"]
    before, inner, outer_span = receiver.spans
    assert [each.name for each in receiver.spans] == ["before", "inner", "POST /v1/chat"]
    assert {each.trace for each in receiver.spans} == {"a" * 32}
    assert (outer_span.parent, inner.parent, before.parent) == ("b" * 16, outer_span.id, inner.id)
    assert (outer_span.kind, outer_span.service) == ("server", "parley-gateway")
    assert outer_span.attributes == {"parley.turn": 3}
    assert (before.start, before.end, before.attributes) == (10.0, 12.5, {"parley.tokens": 7})


def test_of_an_error_only_the_type_is_told(receiver: OtlpReceiver) -> None:
    """A message may hold what somebody wrote. A cancelled span is no failed one."""
    receiver.spans.clear()
    marker = "what the user wrote"
    raised = (EngineLost(marker), ApplicationError(marker, type="policy"), ValueError(marker), asyncio.CancelledError())
    with exporting(TelemetrySettings(otlp_endpoint=f"{receiver.url}/v1/traces"), "gpu", "here:1"):
        for error in raised:
            with pytest.raises(type(error)), span(type(error).__name__):
                raise error
    assert [each.error for each in receiver.spans] == ["engine-lost", "policy", "ValueError", ""]
    assert receiver.spans[-1].attributes == {"parley.cancelled": True}
    assert not any(marker.encode() in body for body in receiver.bodies)


def test_what_is_not_sampled_is_not_exported(receiver: OtlpReceiver) -> None:
    """The share counts for traces that begin here; a caller who records decides for theirs."""
    receiver.spans.clear()
    with exporting(TelemetrySettings(otlp_endpoint=receiver.url, sample=0), "gateway", "here:1"):
        with span("mine"):
            place = current_trace.get()
            assert place is not None
            assert int(place.traceparent[-2:], 16) & 1 == 0, "the next one does not record it either"
        token = current_trace.set(TraceContext(CALLER))
        with span("theirs"):
            pass
        current_trace.reset(token)
    assert [each.name for each in receiver.spans] == ["theirs"]


def test_of_what_nobody_brought_a_trace_to_a_share_is_recorded(receiver: OtlpReceiver) -> None:
    """Just those that the SDK's own sampler takes; whoever knows the name decides alike."""
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    receiver.spans.clear()
    names, taken = [f"conv-{number}/0001" for number in range(40)], list[str]()
    with exporting(TelemetrySettings(otlp_endpoint=receiver.url, sample=0.3), "dialogue", "here:1"):
        for name in names:
            place = derived_trace(name)
            token = current_trace.set(place)
            with span(name):
                pass
            current_trace.reset(token)
            sampled = TraceIdRatioBased(0.3).should_sample(None, int(place.trace_id, 16), name)
            taken += [name] if sampled.decision is Decision.RECORD_AND_SAMPLE else []
    assert 0 < len(taken) < len(names)
    assert [each.name for each in receiver.spans] == taken


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = TelemetrySettings(otlp_endpoint="http://127.0.0.1:1")
    with (
        pytest.raises(SettingsFault, match=r"telemetry\.otlp_endpoint.*parley\[telemetry\]"),
        exporting(settings, "a", "b"),
    ):
        pass


@given(st.text(max_size=50))
def test_a_derived_trace_is_one_of_the_standard(name: str) -> None:
    """All who know the name come to the same."""
    trace = derived_trace(name)
    assert parse_trace(trace.traceparent) == trace == derived_trace(name)
