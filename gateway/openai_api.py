"""OpenAI's addresses: ``/v1/chat/completions`` and ``/v1/models``, for clients that already speak to those."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import Scope

from dialogue.faults import InvalidRequest, ParleyFault, UnknownModel
from dialogue.turn import Reply
from gateway import validation
from gateway.addresses import client_address
from gateway.chat import answer_or_gone, body_of, caller_of, stream_or_gone
from gateway.core import Core
from gateway.events import final_event
from gateway.identifiers import idempotency_key
from gateway.openai_answers import CompletionChunks, completion
from gateway.openai_errors import RETRY_HEADER
from gateway.openai_wire import CompletionRequest
from gateway.problems import CLIENT_LEFT, on_fault

__all__ = ["routes"]

_ASKED_WRONG = 400
"""OpenAI's status for a field that cannot be used, for which its clients have an exception of its own."""
_AWAY = 503


def routes(core: Core) -> list[Route]:
    """The routes of these addresses."""
    completions, models = _Completions(core), _Models(core)
    return [
        _WholeRoute("/v1/chat/completions", completions.create, methods=["POST"]),
        Route("/v1/models", models.all),
        Route("/v1/models/{model}", models.one),
    ]


class _WholeRoute(Route):
    """Has its address for itself: with another method it is not the address of a conversation of that name."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), found


class _Completions:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._gateway = core.settings.gateway

    async def create(self, request: Request) -> Response:
        """Faults are told here, because a client may send again by itself only what has an id of its own."""
        repeatable = False
        try:
            asked = validation.parse(CompletionRequest, await body_of(request, self._core))
            key = idempotency_key(request.headers)
            repeatable = bool(key or (asked.metadata and asked.metadata.message_id))
            return await self._answer(request, asked, key)
        except ParleyFault as fault:
            response = await on_fault(request, fault)
            if isinstance(fault, InvalidRequest):
                response.status_code = _ASKED_WRONG
            if repeatable and fault.status == _AWAY:
                response.headers[RETRY_HEADER] = "true"
            return response

    async def _answer(self, request: Request, asked: CompletionRequest, key: str | None) -> Response:
        said = self._core.say(
            caller_of(request),
            asked.chat(),
            message_id=key,
            address=client_address(request.scope, self._gateway),
            opened_by="openai",
        )
        place, noted = said.place, request.state.log
        noted |= {"tenant": said.tenant, "message_id": place.message_id}
        noted |= {"conversation": place.conversation, "workflow_id": place.conversation}
        if asked.stream:
            chunks = CompletionChunks(place.message_id, asked.model, with_usage=asked.usage_wanted)
            return await stream_or_gone(request, self._core.follow(said), self._gateway, chunks)
        reply = await answer_or_gone(self._core, request, said)
        if not isinstance(reply, Reply):  # without a bound on waiting there is no Pending
            return Response(status_code=CLIENT_LEFT)
        noted |= {"turn": reply.turn, "verdict": reply.verdict}
        trace_url = self._core.conversations.trace_url(reply.workflow_id, reply.run_id)
        return JSONResponse(completion(final_event(0, reply, trace_url).data, asked.model))


class _Models:
    """Names and aliases. ``created`` is when this gateway began to serve them: a name may come to mean others."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._since = int(time.time())

    async def all(self, request: Request) -> Response:
        caller_of(request).require("chat")
        return JSONResponse({"object": "list", "data": [self._told(name) for name in self._core.models()]})

    async def one(self, request: Request) -> Response:
        caller_of(request).require("chat")
        name, known = request.path_params["model"], self._core.models()
        if name not in known:
            raise UnknownModel(f"model: there is no model {name[:60]!r}. There are: {', '.join(known)}.", field="model")
        return JSONResponse(self._told(name))

    def _told(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "parley"}
