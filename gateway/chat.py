"""``/v1/chat``: say something, read a conversation, follow a turn, cancel it."""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dialogue.faults import InvalidRequest
from dialogue.messages import CancelTurn
from dialogue.turn import Reply
from gateway import validation
from gateway.addresses import client_address
from gateway.caller import Caller
from gateway.conversations import Pending
from gateway.core import Core, Said
from gateway.events import TurnEvent
from gateway.identifiers import idempotency_key, known_conversation
from gateway.json_body import read_object
from gateway.problems import CLIENT_LEFT
from gateway.pulled import Pulled
from gateway.sse import Encoding, EventStream
from gateway.usage import usage_of
from gateway.wire import (
    Cancelled,
    CancelQuery,
    ChatPending,
    ChatReply,
    ChatRequest,
    StreamQuery,
    TranscriptQuery,
)
from settings.schema import GatewaySettings

__all__ = [
    "LOOK_AGAIN_SECONDS",
    "PERSON_SECONDS",
    "Chat",
    "answer_or_gone",
    "body_of",
    "caller_of",
    "chat_reply",
    "stream_or_gone",
]

LAST_EVENT_ID = "Last-Event-ID"
LOOK_AGAIN_SECONDS = 2
PERSON_SECONDS = 30
"""A person takes longer than a model."""


def caller_of(request: Request) -> Caller:
    """Who sent it, as :class:`gateway.access.Authenticated` found."""
    return request.state.caller


async def body_of(request: Request, core: Core) -> dict[str, Any]:
    """The JSON object in the body, as long and as slow as the site and the caller's tenant allow."""
    limit = core.limits.max_body(caller_of(request).tenant)
    return await read_object(request, limit, core.settings.gateway.body_seconds)


class Chat:
    """The operations of ``/v1/chat``."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._conversations = core.conversations
        self._gateway = core.settings.gateway

    async def say(self, request: Request) -> Response:
        chat = validation.parse(ChatRequest, await body_of(request, self._core))
        said = self._core.say(
            caller_of(request),
            chat,
            message_id=idempotency_key(request.headers),
            address=client_address(request.scope, self._gateway),
            opened_by="rest",
            wait_seconds=None if chat.stream else self._gateway.wait_seconds,
        )
        place = said.place
        request.state.log |= {
            "tenant": said.tenant,
            "message_id": place.message_id,
            "conversation": place.conversation,
            "workflow_id": place.conversation,
        }
        if chat.stream:
            return await stream_or_gone(request, self._core.follow(said), self._gateway)
        answered = await answer_or_gone(self._core, request, said)
        if answered is None:
            return Response(status_code=CLIENT_LEFT)
        if isinstance(answered, Pending):
            return self._pending(request, answered, said.tenant)
        return self._reply(request, answered)

    async def conversation(self, request: Request) -> Response:
        """GET and DELETE of one conversation."""
        conversation = known_conversation(request.path_params["conversation"])
        request.state.log |= {"conversation": conversation, "workflow_id": conversation}
        if request.method == "DELETE":
            return await self._cancel(request, conversation)
        return await self._transcript(request, conversation)

    async def stream(self, request: Request) -> Response:
        """Follows a turn again, behind the last event that the reader has."""
        conversation = known_conversation(request.path_params["conversation"])
        query = validation.parse_query(StreamQuery, request.query_params.multi_items())
        after = max(query.after, _last_event_id(request))
        asked = query.model_dump(include={"tenant", "turn", "message_id"})
        said = await self._core.resume(caller_of(request), conversation, **asked)
        place = {"conversation": conversation, "workflow_id": conversation, "turn": said.place.turn}
        request.state.log |= {"tenant": said.tenant, **place}
        return await stream_or_gone(request, self._core.follow(said, after), self._gateway, after=after)

    # answering -----------------------------------------------------------------------------------

    def _reply(self, request: Request, reply: Reply) -> Response:
        request.state.log |= {
            "conversation": reply.conversation,
            "turn": reply.turn,
            "workflow_id": reply.workflow_id,
            "verdict": reply.verdict,
        }
        sent = chat_reply(reply, self._conversations.trace_url(reply.workflow_id, reply.run_id))
        if reply.state == "done":
            return _json(sent)
        where = _location(reply.conversation, tenant=reply.tenant, turn=reply.turn)
        return _json(sent, 202, {"Location": where, "Retry-After": str(PERSON_SECONDS)})

    def _pending(self, request: Request, pending: Pending, tenant: str) -> Response:
        request.state.log |= {"conversation": pending.conversation, "workflow_id": pending.workflow_id}
        sent = ChatPending(
            conversation=pending.conversation,
            message_id=pending.message_id,
            workflow_id=pending.workflow_id,
            run_id=pending.run_id,
            trace_url=self._conversations.trace_url(pending.workflow_id, pending.run_id),
        )
        where = _location(pending.conversation, tenant=tenant, message_id=pending.message_id)
        return _json(sent, 202, {"Location": where, "Retry-After": str(LOOK_AGAIN_SECONDS)})

    # a conversation ------------------------------------------------------------------------------

    async def _transcript(self, request: Request, conversation: str) -> Response:
        query = validation.parse_query(TranscriptQuery, request.query_params.multi_items())
        transcript = await self._core.transcript(caller_of(request), conversation, query.tenant)
        turns = tuple(
            turn
            for turn in transcript.turns
            if query.turn in (None, turn.turn) and query.message_id in (None, turn.message_id)
        )
        request.state.log["tenant"] = transcript.tenant
        running = any(turn.state != "done" for turn in turns)
        headers = {"Retry-After": str(LOOK_AGAIN_SECONDS)} if running else None
        return _json(transcript.model_copy(update={"turns": turns}), headers=headers)

    async def _cancel(self, request: Request, conversation: str) -> Response:
        query = validation.parse_query(CancelQuery, request.query_params.multi_items())
        message = CancelTurn(**query.model_dump(exclude={"tenant"}))
        turn = await self._core.cancel(caller_of(request), conversation, message, query.tenant)
        request.state.log["turn"] = turn
        return _json(Cancelled(conversation=conversation, turn=turn))


async def stream_or_gone(
    request: Request,
    events: AsyncGenerator[TurnEvent, None],
    settings: GatewaySettings,
    encoding: Encoding | None = None,
    *,
    after: int = 0,
) -> Response:
    """Streams ``events``, those behind the id ``after``, once the first is there, or none came for a while. A refusal
    that comes before anything else is an answer of its own, and raised here; later it is an event of the stream. Who
    leaves before closes ``events``.
    """
    pulled = Pulled(events)
    gone = asyncio.ensure_future(_gone(request))
    try:
        gone.add_done_callback(pulled.nudge)
        if await pulled.wait(settings.heartbeat_seconds):
            pulled.check()
        elif gone.done():
            await pulled.aclose()
            return Response(status_code=CLIENT_LEFT)
    except BaseException:
        gone.cancel()
        await pulled.aclose()
        raise
    return EventStream(pulled, settings, encoding, after=after, gone=gone, noted=request.state.log)


async def answer_or_gone(core: Core, request: Request, said: Said) -> Reply | Pending | None:
    """The answer; ``None`` when the client left before: what then becomes of the turn, the core decides."""
    answering = asyncio.ensure_future(core.answer(said))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({answering, gone}, return_when=FIRST_COMPLETED)
        if answering.done():
            return answering.result()
        said.reply.cancel()
        core.left(said)
        return None
    finally:
        for task in (answering, gone):
            task.cancel()
        await asyncio.wait({answering, gone})


async def _gone(request: Request) -> None:
    """Until the client left. The body is read already, so nothing else is received."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _last_event_id(request: Request) -> int:
    """What a browser sends by itself when it comes back."""
    given = request.headers.get(LAST_EVENT_ID, "")
    if given and not (given.isascii() and given.isdecimal() and len(given) < 20):
        raise InvalidRequest(
            f"{LAST_EVENT_ID}: must be the id of an event, a whole number. Leave it out to begin at the beginning.",
            field=LAST_EVENT_ID,
        )
    return int(given or 0)


def chat_reply(reply: Reply, trace_url: str) -> ChatReply:
    """The reply as it goes over the wire."""
    shared = ChatReply.model_fields.keys() - {"usage", "trace_url"}
    fields = {name: getattr(reply, name) for name in shared}
    return ChatReply(**fields, usage=usage_of(reply.usage), trace_url=trace_url)


def _location(conversation: str, **query: str | int) -> str:
    return f"/v1/chat/{quote(conversation, safe='')}?{urlencode(query)}"


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(value.model_dump(mode="json"), status, headers)
