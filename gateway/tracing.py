"""A request as a span: the first of a trace, or the next of the caller's own."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from records.trace_context import current_trace
from records.tracing import span, traced

__all__ = ["TracedRequests"]

_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class TracedRequests:
    """Around what answers; inside :class:`gateway.trace_context.TraceContextMiddleware`. Nothing where spans are off.

    A WebSocket lasts for hours and many messages, so it is none: each message said on it begins a trace of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not traced() or scope["type"] != "http" or scope["path"] in _QUIET:
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        with span(method, "server", {"http.request.method": method, "url.scheme": scope.get("scheme")}) as request:

            async def observed_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    request.note({"http.response.status_code": status})
                    if status >= 500:
                        request.failed(str(status))
                await send(message)

            trace = current_trace.get()
            with bound_contextvars(trace_id=trace.trace_id if trace else None):
                await self.app(scope, receive, observed_send)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                request.rename(f"{method} {route}")
                request.note({"http.route": route})
