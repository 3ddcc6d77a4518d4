"""The middlewares of the edge, in their order: what goes around everything that the application answers."""

from __future__ import annotations

from starlette.middleware import Middleware

from gateway.headers import SecurityHeaders, cors
from gateway.streaming import ReaderTimeout
from gateway.trace_context import TraceContextMiddleware
from gateway.tracing import TracedRequests
from settings.schema import GatewaySettings

__all__ = ["edge"]


def edge(settings: GatewaySettings) -> list[Middleware]:
    """They stand before the one that observes, so that also its answers to the unforeseen have their headers."""
    return [
        Middleware(ReaderTimeout, seconds=settings.reader_seconds),
        Middleware(SecurityHeaders, tls=settings.tls is not None),
        *cors(settings),
        Middleware(TraceContextMiddleware),
        Middleware(TracedRequests),
    ]
