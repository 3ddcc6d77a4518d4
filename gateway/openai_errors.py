"""Problems in OpenAI's shape, on the addresses that OpenAI's clients know, whoever told them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dialogue.faults import MessageTooLong, PromptTooLong, UnknownModel
from gateway.problems import ABOUT_BLANK, ProblemResponse

__all__ = ["RETRY_HEADER", "OpenAIErrors", "openai_error"]

RETRY_HEADER = "X-Should-Retry"
"""Tells OpenAI's clients whether to send it again by themselves; without it they do so for 408, 409, 429 and 5xx."""
_ADDRESSES = ("/v1/chat/completions", "/v1/models")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    UnknownModel.type: "model_not_found",
    MessageTooLong.type: "context_length_exceeded",
    PromptTooLong.type: "context_length_exceeded",
}


def openai_error(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Problem details as the body of OpenAI's errors. ``code`` is Parley's own where OpenAI has none for it."""
    status, kind = problem["status"], problem["type"]
    name = None if kind == ABOUT_BLANK else kind.rpartition("#")[2]
    error: dict[str, Any] = {
        "message": problem["detail"],
        "type": "server_error" if status >= 500 else _TYPES.get(status, "invalid_request_error"),
        "param": problem.get("field"),
        "code": name and _CODES.get(name, name.replace("-", "_")),
    }
    if "errors" in problem:
        error["errors"] = problem["errors"]
    return {"error": error}


class OpenAIErrors:
    """Middleware around all others, so that what they refuse has this shape too.

    A client may send again by itself what started nothing, which is 429; anything else only where the endpoint knows
    that it is not answered twice.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_openai(scope["path"]):
            await self.app(scope, receive, send)
            return
        held: Message | None = None
        body = bytearray()

        async def reshaping_send(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _is_problem(message):
                held = message
            elif held is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_error(held, bytes(body), send)

        await self.app(scope, receive, reshaping_send)


def _is_openai(path: str) -> bool:
    return any(path == address or path.startswith(f"{address}/") for address in _ADDRESSES)


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "") == ProblemResponse.media_type


async def _send_error(start: Message, body: bytes, send: Send) -> None:
    told = json.dumps(openai_error(json.loads(body)), ensure_ascii=False).encode()
    headers = MutableHeaders(scope=start)
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(told))
    headers.setdefault(RETRY_HEADER, "true" if start["status"] == 429 else "false")
    await send(start)
    await send({"type": "http.response.body", "body": told})
