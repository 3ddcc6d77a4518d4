"""What browsers are told with every answer, and which pages may call the gateway."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from settings.schema import GatewaySettings

__all__ = ["SecurityHeaders", "cors"]

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_WITH_TLS = {"Strict-Transport-Security": "max-age=31536000"}
# Beside our own: what a resuming EventSource, gRPC-Web, Connect and a tracing page send, and OpenAI's client for
# JavaScript, which tells of itself with every request; and what they have to read.
_ASKED = (
    *("Authorization", "X-Api-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-Id"),
    *("Traceparent", "Tracestate", "User-Agent"),
    *("X-Grpc-Web", "X-User-Agent", "Grpc-Timeout", "Connect-Protocol-Version", "Connect-Timeout-Ms"),
    *("OpenAI-Organization", "OpenAI-Project", "X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-OS"),
    *("X-Stainless-Arch", "X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Retry-Count"),
    *("X-Stainless-Timeout", "X-Stainless-Helper-Method"),
)
_ANSWERED = (
    *("X-Request-Id", "Retry-After", "X-Should-Retry", "Location", "X-Parley-Conversation", "X-Parley-Message-Id"),
    *("Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"),
)
_PREFLIGHT_SECONDS = 600


class SecurityHeaders:
    """Sets the headers that an answer does not set itself. ``tls``: browsers are told never to come in clear again."""

    def __init__(self, app: ASGIApp, *, tls: bool = False) -> None:
        self.app = app
        self.headers = _ALWAYS | (_WITH_TLS if tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, secured_send if scope["type"] == "http" else send)


def cors(settings: GatewaySettings) -> list[Middleware]:
    """Lets the pages of ``gateway.cors`` call, without cookies; nothing where no origin is named."""
    if not settings.cors:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=_ASKED,
            expose_headers=_ANSWERED,
            max_age=_PREFLIGHT_SECONDS,
        )
    ]
