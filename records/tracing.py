"""Spans, by OpenTelemetry: one trace a message, from the gateway through its steps into the engine.

Off, which is the default, a span is nothing and nothing of OpenTelemetry is imported. On, each process exports its own
by OTLP; :mod:`records.trace_context` carries a span's place from one to the next, through Temporal too. No span ever
holds what a person wrote or was answered: of a failure the type alone.

https://github.com/open-telemetry/semantic-conventions-genai (the names are those of its v0.1.0)
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dialogue.faults import ParleyFault, SettingsFault
from records.trace_context import TraceContext, current_trace
from settings.telemetry import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry import trace as otel
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["Attributes", "Kind", "Span", "derived_trace", "exporting", "span", "span_between", "traced"]

Kind = Literal["internal", "server", "client", "consumer"]
Attributes = Mapping[str, "str | int | float | bool | tuple[str, ...] | None"]
"""By their names in OpenTelemetry's conventions; ``None`` is left out."""
NANOSECONDS = 1_000_000_000
PATH = "/v1/traces"

_tracer: otel.Tracer | None = None
_share = 1.0
"""Of the traces that begin here, those that are recorded."""


class Span:
    """Nothing: what a span is while nobody collects them."""

    def note(self, attributes: Attributes) -> None: ...

    def rename(self, name: str) -> None: ...

    def failed(self, kind: str) -> None: ...


_NOTHING = Span()


@dataclass(frozen=True, slots=True)
class _Recorded(Span):
    span: otel.Span

    def note(self, attributes: Attributes) -> None:
        self.span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def rename(self, name: str) -> None:
        self.span.update_name(name)

    def failed(self, kind: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR, kind))


@contextmanager
def exporting(settings: TelemetrySettings, service: str, instance: str) -> Iterator[None]:
    """Has this process's spans exported inside, as those of ``service``; what is left goes out at the end.

    Raises SettingsFault where OpenTelemetry is not installed. Certificates, headers and timeouts of the exporter are
    its own variables (``OTEL_EXPORTER_OTLP_HEADERS`` and their like).
    """
    global _tracer, _share
    if settings.otlp_endpoint is None:
        yield
        return
    provider = _provider(settings, settings.otlp_endpoint, service, instance)
    _tracer, _share = provider.get_tracer("parley"), settings.sample
    try:
        yield
    finally:
        _tracer, _share = None, 1.0
        provider.shutdown()


def _provider(settings: TelemetrySettings, endpoint: str, service: str, instance: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ModuleNotFoundError as error:
        raise SettingsFault(
            f"telemetry.otlp_endpoint: {error.name} is not installed. Run `pip install 'parley[telemetry]'`, "
            "or set it to null."
        ) from error
    address = endpoint.rstrip("/")
    resource = Resource.create(
        {"service.namespace": "parley", "service.name": f"parley-{service}", "service.instance.id": instance}
    )
    provider = TracerProvider(
        resource=resource, sampler=ParentBased(TraceIdRatioBased(settings.sample)), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint=address if address.endswith(PATH) else address + PATH)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def traced() -> bool:
    """Whether spans are collected."""
    return _tracer is not None


@contextmanager
def span(name: str, kind: Kind = "internal", attributes: Attributes | None = None) -> Iterator[Span]:
    """What happens inside, as a span of the current trace, or of a new one. What is called from there belongs to it."""
    if _tracer is None:
        yield _NOTHING
        return
    started, parent = _started(_tracer, name, kind, None), current_trace.get()
    recorded = _Recorded(started)
    recorded.note(attributes or {})
    token = current_trace.set(_place_of(started, parent))
    try:
        yield recorded
    except asyncio.CancelledError:
        recorded.note({"parley.cancelled": True})
        raise
    except Exception as error:
        recorded.failed(_type_of(error))
        raise
    finally:
        current_trace.reset(token)
        started.end()


def span_between(name: str, start: float, end: float, attributes: Attributes | None = None) -> None:
    """A span that is over, from ``start`` to ``end`` in seconds of the clock."""
    if _tracer is None:
        return
    started = _started(_tracer, name, "internal", start)
    _Recorded(started).note(attributes or {})
    started.end(round(end * NANOSECONDS))


def derived_trace(name: str) -> TraceContext:
    """A trace that all who know ``name`` agree on, for what nobody brought one to; recorded where it is of the share
    that is, as the SDK's sampler would have it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    recorded = int(digest[16:32], 16) < round(_share * 2**64)
    return TraceContext(f"00-{digest[:32]}-{digest[32:48]}-{recorded:02x}")


def _started(tracer: otel.Tracer, name: str, kind: Kind, start: float | None) -> otel.Span:
    from opentelemetry.trace import SpanKind

    at = round((time.time() if start is None else start) * NANOSECONDS)
    return tracer.start_span(name, context=_parent(current_trace.get()), kind=SpanKind[kind.upper()], start_time=at)


def _parent(place: TraceContext | None) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if place is None:
        return Context()
    carrier = {"traceparent": place.traceparent, "tracestate": place.tracestate}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _place_of(started: otel.Span, parent: TraceContext | None) -> TraceContext:
    place = started.get_span_context()
    written = f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"
    return TraceContext(written, parent.tracestate if parent else "")


def _type_of(error: Exception) -> str:
    """The fault's type; of what is no fault of ours, the class. Never the message: it may hold a text."""
    kind = error.type if isinstance(error, ParleyFault) else getattr(error, "type", None)
    return kind if isinstance(kind, str) and kind else type(error).__name__
