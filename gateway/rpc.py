"""gRPC-Web and Connect: the same conversations as typed calls (``gateway/proto``), for generated clients.

What a request says is checked as the HTTP API checks it, in the same words. A fault is the call's status, with the
problem as its detail.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.request import RequestContext
from google.protobuf.json_format import MessageToJson, Parse, ParseDict
from google.protobuf.message import Message
from protobuf.wkt import Any as Packed
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dialogue.faults import ConversationClosed, MessageIdReused, NothingToCancel, ParleyFault
from dialogue.messages import CancelTurn
from gateway import validation
from gateway.addresses import client_address
from gateway.caller import Caller
from gateway.chat import caller_of
from gateway.conversations import Pending
from gateway.core import Core, Said
from gateway.events import TurnEvent, final_event, for_log
from gateway.identifiers import idempotency_key, known_conversation
from gateway.json_body import read_body, refuse_unkeepable
from gateway.observed import frames_of
from gateway.problems import ABOUT_BLANK, AGAIN_LATER, retry_after, told
from gateway.proto.parley.v1 import dialogue_pb2 as wire
from gateway.proto.parley.v1.dialogue_connect import DialoguesASGIApplication
from gateway.pulled import Pulled
from gateway.rpc_request import chat_request
from gateway.wire import CancelQuery, FeedbackRequest, StreamQuery, TranscriptQuery

__all__ = ["routes"]

OPENED_BY = "grpc-web"
CONVERSATION, MESSAGE_ID = "x-parley-conversation", "x-parley-message-id"
"""Headers of the answer: with these a call that was cut off before its first message is taken up again."""
_NOT_HELD = {"x-accel-buffering": "no", "cache-control": "no-store, no-transform"}
_GRPC_WEB = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")
_UNARY = ("application/json", "application/proto", *_GRPC_WEB)
_STREAMED = ("application/connect+json", "application/connect+proto", *_GRPC_WEB)
_FLAGS_AND_LENGTH = 5
"""Bytes before a message."""
_OVER_MILLISECONDS = 1.0
_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ABORTED,
    413: Code.RESOURCE_EXHAUSTED,
    422: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_CODES_OF: dict[type[ParleyFault], Code] = {
    MessageIdReused: Code.ALREADY_EXISTS,
    ConversationClosed: Code.FAILED_PRECONDITION,
    NothingToCancel: Code.FAILED_PRECONDITION,
}

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")
_request: ContextVar[Request] = ContextVar("request")
"""The HTTP request of the call that is being served: who sent it, and what its log line shall hold."""
Sent = TypeVar("Sent", bound=Message)
Context = RequestContext[Any, Any]


def routes(core: Core) -> list[Route]:
    """One for each method of ``parley.v1.Dialogues``."""
    limit = core.settings.gateway.max_body
    codecs = [google_protobuf_binary_codec(), _Json()]
    application = DialoguesASGIApplication(_Dialogues(core), read_max_bytes=limit, codecs=codecs)
    service = wire.DESCRIPTOR.services_by_name["Dialogues"]
    return [
        Route(
            f"/{service.full_name}/{method.name}",
            _Call(application, core, _STREAMED if method.server_streaming else _UNARY),
            methods=["POST"],
        )
        for method in service.methods
    ]


class _Json:
    """The library's JSON goes over several lines and escapes all but ASCII, and it lets a misspelt field pass. (Of a
    binary message nobody can tell such a field from a newer client's.)"""

    def name(self) -> str:
        return "json"

    def encode(self, message: Message) -> bytes:
        return MessageToJson(message, indent=None, ensure_ascii=False).encode()

    def decode(self, data: bytes | bytearray, message_class: type[Sent]) -> Sent:
        return Parse(bytes(data), message_class())


class _Call:
    """Around the library's application: the content types and the size that are taken, and whose request it is."""

    def __init__(self, application: DialoguesASGIApplication, core: Core, kinds: tuple[str, ...]) -> None:
        self._application = application
        self._limits = core.limits
        self._seconds = core.settings.gateway.body_seconds
        self._kinds = kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in self._kinds:
            found = f"it is {kind[:60]!r}" if kind else "there is none"
            raise HTTPException(415, f"Content-Type: must be one of {', '.join(self._kinds)}, but {found}.")
        receive = await self._body(request, receive)
        before = _request.set(request)
        try:
            await self._application({**scope, "headers": _readable(scope, kind)}, receive, send)  # type: ignore[arg-type]
        finally:
            _request.reset(before)

    async def _body(self, request: Request, receive: Receive) -> Receive:
        """Gives the body as one piece, which is one message; where it is too long, the call fails at it."""
        refused: HTTPException | None = None
        body = b""
        try:
            limit = self._limits.max_body(caller_of(request).tenant) + _FLAGS_AND_LENGTH
            body = await read_body(request, limit, self._seconds)
        except HTTPException as error:
            refused = error
        given = False

        async def replay() -> Any:
            nonlocal given
            if refused is not None:
                status = refused.status_code
                title = HTTPStatus(status).phrase
                raise _error({"type": ABOUT_BLANK, "title": title, "status": status, "detail": refused.detail})
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay


def _readable(scope: Scope, kind: str) -> list[tuple[bytes, bytes]]:
    """The headers as the library reads them: in UTF-8, the content type without parameters."""
    headers = [(name, value.decode("latin-1").encode()) for name, value in scope["headers"] if name != b"content-type"]
    return [*headers, (b"content-type", kind.encode())]


class _Dialogues:
    """The service of ``dialogue.proto``."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._gateway = core.settings.gateway

    async def say(self, sent: wire.SayRequest, context: Context) -> wire.SayResponse:
        with _faults_told(context):
            said = self._say(sent, context, self._gateway.wait_seconds)
            try:
                answered = await self._core.answer(said)
            except asyncio.CancelledError:
                if not _over(context):
                    self._core.left(said)
                raise
            url = self._core.conversations.trace_url(answered.workflow_id, answered.run_id)
            if isinstance(answered, Pending):
                return _filled(wire.SayResponse(), {"pending": {**dataclasses.asdict(answered), "trace_url": url}})
            steps = answered.model_dump(mode="json", include={"steps"})
            return _filled(wire.SayResponse(), {"reply": {**_answer(final_event(0, answered, url).data), **steps}})

    async def say_streamed(self, sent: wire.SayRequest, context: Context) -> AsyncGenerator[wire.Event, None]:
        with _faults_told(context):
            said = self._say(sent, context, None)
            async with contextlib.aclosing(self._follow(said, context, 0)) as events:
                async for event in events:
                    yield event

    async def resume(self, sent: wire.ResumeRequest, context: Context) -> AsyncGenerator[wire.Event, None]:
        with _faults_told(context):
            conversation, fields = _named(sent)
            query = validation.parse(StreamQuery, fields)
            asked = query.model_dump(include={"tenant", "turn", "message_id"})
            said = await self._core.resume(_caller(), conversation, **asked)
            _note(tenant=said.tenant, turn=said.place.turn)
            async with contextlib.aclosing(self._follow(said, context, query.after)) as events:
                async for event in events:
                    yield event

    async def transcript(self, sent: wire.TranscriptRequest, context: Context) -> wire.TranscriptResponse:
        with _faults_told(context):
            conversation, fields = _named(sent)
            query = validation.parse(TranscriptQuery, fields)
            found = await self._core.transcript(_caller(), conversation, query.tenant)
            return _filled(wire.TranscriptResponse(), found.model_dump(mode="json"))

    async def cancel(self, sent: wire.CancelRequest, context: Context) -> wire.CancelResponse:
        with _faults_told(context):
            conversation, fields = _named(sent)
            query = validation.parse(CancelQuery, fields)
            message = CancelTurn(**query.model_dump(exclude={"tenant"}))
            turn = await self._core.cancel(_caller(), conversation, message, query.tenant)
            _note(turn=turn)
            return wire.CancelResponse(conversation=conversation, turn=turn)

    async def feedback(self, sent: wire.FeedbackRequest, context: Context) -> wire.FeedbackResponse:
        with _faults_told(context):
            conversation, fields = _named(sent)
            given = validation.parse(FeedbackRequest, {**fields, "conversation": conversation})
            await self._core.feedback(_caller(), given)
            _note(turn=given.turn)
            return wire.FeedbackResponse(conversation=conversation, turn=given.turn)

    # saying and following ------------------------------------------------------------------------

    def _say(self, sent: wire.SayRequest, context: Context, wait_seconds: float | None) -> Said:
        request = _request.get()
        said = self._core.say(
            _caller(),
            chat_request(_fields(sent)),
            message_id=idempotency_key(request.headers),
            address=client_address(request.scope, self._gateway),
            opened_by=OPENED_BY,
            wait_seconds=wait_seconds,
        )
        place = said.place
        _note(
            tenant=said.tenant,
            message_id=place.message_id,
            conversation=place.conversation,
            workflow_id=place.conversation,
        )
        context.response_headers[CONVERSATION] = place.conversation
        context.response_headers[MESSAGE_ID] = place.message_id
        return said

    async def _follow(self, said: Said, context: Context, after: int) -> AsyncGenerator[wire.Event, None]:
        """The turn's events, and an empty one whenever there was none for a while.

        A call whose deadline is over is closed like one whose client left, but its client did not mean to: the turn
        goes on. So it is told here, and not by the core, that the reader left.
        """
        for name, value in _NOT_HELD.items():
            context.response_headers[name] = value
        pulled = Pulled(self._core.follow(dataclasses.replace(said, cancels=False), after))
        ended = False
        try:
            while True:
                if not await pulled.wait(self._gateway.heartbeat_seconds):
                    yield wire.Event()
                    continue
                event = await pulled.take()
                if event is None:
                    return
                ended = event.kind == "final"
                _note(**for_log(event))
                yield _event(event)
        except ParleyFault:
            ended = True
            raise
        finally:
            await pulled.aclose()
            if not ended and not _over(context):
                self._core.left(said)


def _over(context: Context) -> bool:
    """Whether the call's deadline is over."""
    left = context.timeout_ms
    return left is not None and left <= _OVER_MILLISECONDS


def _caller() -> Caller:
    return caller_of(_request.get())


def _note(**what: Any) -> None:
    """For the request's log line."""
    _request.get().state.log |= what


# messages -----------------------------------------------------------------------------------------


def _event(event: TurnEvent) -> wire.Event:
    data = _answer(event.data) if event.kind == "final" else event.data
    return _filled(wire.Event(), {"id": event.id, event.kind: data})


def _answer(data: Mapping[str, Any]) -> dict[str, Any]:
    """A final event's data with its receipt as the text that was signed over: a message of its own would be written
    otherwise in JSON."""
    receipt = data.get("receipt")
    return {**data, "receipt": None if receipt is None else json.dumps(receipt)}


def _filled(message: Sent, value: dict[str, Any]) -> Sent:
    """``message`` with the fields of ``value`` that it has; a null is a field that is not set."""
    return ParseDict(value, message, ignore_unknown_fields=True)


def _fields(message: Message) -> dict[str, Any]:
    """The fields that were sent, as the HTTP API's JSON has them. Raises InvalidRequest for what cannot be kept."""
    found = _plain(message)
    refuse_unkeepable(found)
    return found


def _plain(message: Message) -> dict[str, Any]:
    return {
        field.name: [_plain(each) for each in value] if field.message_type else value
        for field, value in message.ListFields()
    }


def _named(message: Message) -> tuple[str, dict[str, Any]]:
    """The conversation that a message names, and its other fields."""
    fields = _fields(message)
    conversation = known_conversation(fields.pop("conversation", ""))
    _note(conversation=conversation, workflow_id=conversation)
    return conversation, fields


# faults -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _faults_told(context: Context) -> Iterator[None]:
    """What is raised within is the call's status. The library would show the words of whatever it is."""
    try:
        yield
    except ParleyFault as fault:
        _note(fault=fault.type)
        if type(fault) is ParleyFault:
            _note(error=fault.message)
        if fault.status in AGAIN_LATER:
            context.response_headers["retry-after"] = str(retry_after(fault))
        raise _error(_problem(fault), _CODES_OF.get(type(fault))) from fault
    except Exception as error:
        at = frames_of(error)
        log.error("call failed", error=type(error).__name__, at=at, request_id=_request.get().state.request_id)
        raise _error(_problem(ParleyFault(""))) from None


def _problem(fault: ParleyFault) -> dict[str, Any]:
    errors = fault.details.get("errors", ())
    return {**told(fault), "errors": errors if len(errors) > 1 else []}


def _error(problem: dict[str, Any], code: Code | None = None) -> ConnectError:
    detail = _filled(wire.Problem(), {**problem, "instance": _request.get().state.request_id})
    packed = Packed(type_url=f"type.googleapis.com/{detail.DESCRIPTOR.full_name}", value=detail.SerializeToString())
    return ConnectError(code or _CODES.get(problem["status"], Code.INTERNAL), problem["detail"], [ErrorDetail(packed)])
