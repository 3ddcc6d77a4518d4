"""Takes the caller's W3C trace context: what the request asks of Temporal carries it on."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from records.trace_context import current_trace, parse_trace

__all__ = ["TraceContextMiddleware"]


class TraceContextMiddleware:
    """A request without a ``traceparent``, or with one that the standard does not know, belongs to no trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = None
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            parents = headers.getlist("traceparent")
            # two of them: nobody knows which one is meant
            trace = parse_trace(parents[0], ",".join(headers.getlist("tracestate"))) if len(parents) == 1 else None
        if trace is None:
            await self.app(scope, receive, send)
            return
        token = current_trace.set(trace)
        try:
            with bound_contextvars(trace_id=trace.trace_id):
                await self.app(scope, receive, send)
        finally:
            current_trace.reset(token)
