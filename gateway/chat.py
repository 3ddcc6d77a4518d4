"""``/v1/chat``: say something, read a conversation, cancel its running turn."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from ulid import ULID

from dialogue.faults import InvalidRequest, MessageTooLong, UnknownModel, UnknownTenant, unknown_conversation
from dialogue.messages import CancelTurn, DialogueStart, Identifier, Say
from dialogue.turn import Reply
from gateway import validation
from gateway.conversations import DIALOGUE_PREFIX, Conversations, Pending, dialogue_id, new_conversation_id
from gateway.json_body import read_object
from gateway.wire import Cancelled, CancelQuery, ChatPending, ChatReply, ChatRequest, ChatUsage, TranscriptQuery
from settings.schema import Settings, TenantSettings

__all__ = ["Chat"]

IDEMPOTENCY_KEY = "Idempotency-Key"
LOOK_AGAIN_SECONDS = 2
PERSON_SECONDS = 30
"""A person takes longer than a model."""
NEW = "new"
"""As ``conversation``: opens one, whose id is in the reply."""
_identifier = TypeAdapter[str](Identifier)


class Chat:
    """The operations of ``/v1/chat``. ``stopping`` is set when the gateway goes down: no request waits on."""

    def __init__(self, conversations: Conversations, settings: Settings, stopping: asyncio.Event) -> None:
        self._conversations = conversations
        self._settings = settings
        self._stopping = stopping

    async def say(self, request: Request) -> Response:
        body = await read_object(request, self._settings.gateway.max_body)
        chat = validation.parse(ChatRequest, body)
        tenant = self._tenant(chat.tenant)
        self._check(chat, tenant)
        message_id = chat.message_id or _idempotency_key(request) or f"msg-{ULID()}"
        request.state.log |= {"tenant": chat.tenant, "message_id": message_id, "conversation": chat.conversation}
        address = request.client.host if request.client else None
        if chat.conversation is None:
            saying = self._ask(chat, message_id, address)
        elif chat.conversation == NEW:
            saying = self._say(chat, new_conversation_id(), message_id, address, tenant, fresh=True)
        else:
            saying = self._say(chat, chat.conversation, message_id, address, tenant)
        answered = await self._unless_stopping(saying, message_id)
        if isinstance(answered, Pending):
            return self._pending(request, answered, chat.tenant)
        return self._reply(request, answered)

    async def conversation(self, request: Request) -> Response:
        """GET and DELETE of one conversation."""
        conversation = _path_identifier(request)
        request.state.log["conversation"] = conversation
        if request.method == "DELETE":
            return await self._cancel(request, conversation)
        return await self._transcript(request, conversation)

    # saying --------------------------------------------------------------------------------------

    async def _ask(self, chat: ChatRequest, message_id: str, address: str | None) -> Reply | Pending:
        question = DialogueStart(
            messages=tuple(chat.messages),
            message_id=message_id,
            address=address,
            max_new_tokens=chat.max_tokens,
            **chat.model_dump(include={"tenant", "user", "temperature", "seed", "model"}),
        )
        return await self._conversations.ask(
            question,
            dialogue=dialogue_id(chat.tenant, chat.user, message_id),
            wait_seconds=self._settings.gateway.wait_seconds,
        )

    async def _say(
        self,
        chat: ChatRequest,
        conversation: str,
        message_id: str,
        address: str | None,
        tenant: TenantSettings,
        *,
        fresh: bool = False,
    ) -> Reply | Pending:
        message = Say(
            text=next(message.content for message in reversed(chat.messages) if message.role == "user"),
            message_id=message_id,
            address=address,
            max_new_tokens=chat.max_tokens,
            **chat.model_dump(include={"tenant", "user", "temperature", "seed", "model"}),
        )
        return await self._conversations.say(
            conversation,
            message,
            fresh=fresh,
            start={"pending": tenant.pending},
            wait_seconds=self._settings.gateway.wait_seconds,
            opened_by="rest",
        )

    async def _unless_stopping(self, saying: Coroutine[Any, Any, Reply | Pending], message_id: str) -> Reply | Pending:
        """What ``saying`` gives. When the gateway stops, the caller is told how to come back for it."""
        answered = asyncio.ensure_future(saying)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({answered, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                return answered.result()
        finally:
            answered.cancel()
            stopped.cancel()
            await asyncio.wait({answered, stopped})
        raise HTTPException(
            503, f"The gateway is stopping. Send it again with the message_id {message_id}: it is answered once."
        )

    def _tenant(self, name: str) -> TenantSettings:
        if name not in self._settings.tenants:
            raise UnknownTenant(f"tenant: there is no tenant {name}. Name one of this site's.", field="tenant")
        return self._settings.tenants[name]

    def _check(self, chat: ChatRequest, tenant: TenantSettings) -> None:
        """What the shape of the fields alone does not tell."""
        roles = [message.role for message in chat.messages]
        if chat.conversation is None and roles[-1] != "user":
            raise InvalidRequest(
                f"messages.{len(roles) - 1}.role: must be user, but is {roles[-1]}. The last message is the question.",
                field=f"messages.{len(roles) - 1}.role",
            )
        if "user" not in roles:
            raise InvalidRequest(
                "messages: holds no message with the role user. The last of those is what is said.", field="messages"
            )
        if chat.conversation is not None and chat.conversation.startswith(DIALOGUE_PREFIX):
            raise InvalidRequest(
                f"conversation: {chat.conversation} was a single question. Choose an id that does not begin with "
                f"{DIALOGUE_PREFIX} and send the earlier messages no more.",
                field="conversation",
            )
        for index, message in enumerate(chat.messages):
            if len(message.content) > tenant.max_characters:
                raise MessageTooLong(
                    f"messages.{index}.content: has {len(message.content)} characters. "
                    f"Send at most {tenant.max_characters}.",
                    field=f"messages.{index}.content",
                )
        self._check_model(chat.model)

    def _check_model(self, model: str | None) -> None:
        settings = self._settings
        known = ["default", settings.model.name, *settings.models, *(other.name for other in settings.models.values())]
        if model is not None and model not in known:
            there_are = ", ".join(dict.fromkeys(known))
            raise UnknownModel(f"model: there is no model {model}. There are: {there_are}.", field="model")

    # answering -----------------------------------------------------------------------------------

    def _reply(self, request: Request, reply: Reply) -> Response:
        request.state.log |= {
            "conversation": reply.conversation,
            "turn": reply.turn,
            "workflow_id": reply.workflow_id,
            "verdict": reply.verdict,
        }
        sent = _chat_reply(reply, self._conversations.trace_url(reply.workflow_id, reply.run_id))
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
        self._tenant(query.tenant)
        transcript = await self._conversations.transcript(conversation, query.tenant)
        turns = tuple(
            turn
            for turn in transcript.turns
            if query.turn in (None, turn.turn) and query.message_id in (None, turn.message_id)
        )
        request.state.log |= {"workflow_id": conversation, "tenant": query.tenant}
        running = any(turn.state != "done" for turn in turns)
        headers = {"Retry-After": str(LOOK_AGAIN_SECONDS)} if running else None
        return _json(transcript.model_copy(update={"turns": turns}), headers=headers)

    async def _cancel(self, request: Request, conversation: str) -> Response:
        query = validation.parse_query(CancelQuery, request.query_params.multi_items())
        self._tenant(query.tenant)
        turn = await self._conversations.cancel_turn(conversation, CancelTurn(**query.model_dump()))
        request.state.log |= {"workflow_id": conversation, "tenant": query.tenant, "turn": turn}
        return _json(Cancelled(conversation=conversation, turn=turn))


def _idempotency_key(request: Request) -> str | None:
    given = request.headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return None
    try:
        return _identifier.validate_python(given)
    except ValidationError:
        raise InvalidRequest(
            f"{IDEMPOTENCY_KEY}: must be 1 to 128 letters, digits and . _ : @ + - with a letter or digit first.",
            field=IDEMPOTENCY_KEY,
        ) from None


def _path_identifier(request: Request) -> str:
    given = request.path_params["conversation"]
    try:
        return _identifier.validate_python(given)
    except ValidationError:
        # no conversation can have such a name, and a caller learns no more than for any other that is not theirs
        raise unknown_conversation(repr(given[:60])) from None


def _chat_reply(reply: Reply, trace_url: str) -> ChatReply:
    usage = ChatUsage(**reply.usage.model_dump(), total_tokens=reply.usage.total_tokens)
    shared = ChatReply.model_fields.keys() - {"usage", "trace_url"}
    return ChatReply(**{name: getattr(reply, name) for name in shared}, usage=usage, trace_url=trace_url)


def _location(conversation: str, **query: str | int) -> str:
    return f"/v1/chat/{quote(conversation, safe='')}?{urlencode(query)}"


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(value.model_dump(mode="json"), status, headers)
