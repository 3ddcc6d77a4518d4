"""Middleware around every request: its id, its log line, its metrics, and an answer to what nobody foresaw."""

from __future__ import annotations

import contextlib
import re
import time
import traceback
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from gateway.metrics import Metrics
from gateway.problems import unexpected
from gateway.streaming import ReaderTooSlow

__all__ = ["REQUEST_ID", "Observed", "frames_of"]

REQUEST_ID = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}", re.ASCII)
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_UNEXPECTED = 1011

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


class Observed:
    """Endpoints put what the log line shall hold into ``request.state.log``: ids and numbers, never a text."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        noted: dict[str, Any] = {}
        scope.setdefault("state", {}).update(request_id=request_id, log=noted)
        if scope["type"] == "http":
            await self._request(scope, receive, send, request_id, noted)
        else:
            await self._socket(scope, receive, send, request_id, noted)

    async def _request(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, noted: dict[str, Any]
    ) -> None:
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        started = time.perf_counter()
        with self.metrics.in_flight.track_inprogress():
            try:
                await self.app(scope, receive, observed_send)
            except ReaderTooSlow:
                noted["reader"] = "too slow"
                raise
            except Exception as error:
                noted["error"] = type(error).__name__
                noted["at"] = frames_of(error)
                if status:  # too late for another answer: the server has to break this one off
                    raise
                await unexpected(request_id)(scope, receive, observed_send)
            finally:
                seconds = time.perf_counter() - started
                route = getattr(scope.get("route"), "path", "unmatched")
                self.metrics.answered(scope["method"], route, status, seconds)
                _log(scope["method"], route, status, seconds, request_id, noted)

    async def _socket(self, scope: Scope, receive: Receive, send: Send, request_id: str, noted: dict[str, Any]) -> None:
        """One line when it closes. An exception nobody foresaw closes it, and nothing of it is shown."""
        started = time.perf_counter()
        try:
            with self.metrics.sockets.track_inprogress():
                await self.app(scope, receive, send)
        except Exception as error:
            noted.update(error=type(error).__name__, at=frames_of(error))
            with contextlib.suppress(Exception):  # where it is closed already
                await send({"type": "websocket.close", "code": _UNEXPECTED})
        finally:
            write = log.error if "error" in noted else log.info
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = round(time.perf_counter() - started, 3)
            write("web socket closed", route=route, seconds=seconds, request_id=request_id, **noted)


def _request_id(headers: Headers) -> str:
    """The caller's own, where it can be kept in a log; else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else f"req-{ULID()}"


def frames_of(error: Exception) -> list[str]:
    """Where it happened. Neither the message nor the lines: both may hold a user's text."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]


def _log(method: str, route: str, status: int, seconds: float, request_id: str, noted: dict[str, Any]) -> None:
    failed = status >= 500 or not status or "error" in noted
    write = log.error if failed else log.debug if route in _QUIET else log.info
    known = {name: value for name, value in noted.items() if value is not None}
    write(
        "request",
        method=method,
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        request_id=request_id,
        **known,
    )
