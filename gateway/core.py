"""The one core behind every transport: a message is said, followed, resumed, cancelled and judged here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from ulid import ULID

from dialogue.faults import (
    InvalidRequest,
    MessageTooLong,
    NoSuchTurn,
    NothingToCancel,
    ParleyFault,
    RecordsUnavailable,
    UnknownConversation,
    UnknownModel,
    unknown_tenant,
)
from dialogue.messages import (
    MOST_FILES,
    CancelTurn,
    ChatMessage,
    DialogueStart,
    Feedback,
    ResolveReview,
    Say,
    TextFile,
    message_digest,
    message_stream,
)
from dialogue.turn import Reply, Transcript, TurnSummary
from gateway.access import Access
from gateway.caller import Caller
from gateway.conversations import (
    DIALOGUE_PREFIX,
    Broken,
    Conversations,
    Pending,
    dialogue_id,
    new_conversation_id,
    opened_conversation_id,
)
from gateway.counted_turns import CountedTurns, Spent
from gateway.events import TurnEvent
from gateway.feedback import give_feedback
from gateway.limits import Limits
from gateway.pulled import Pulled
from gateway.reviews import decide, waiting_reviews
from gateway.turn_streams import Place, TurnStreams
from gateway.wire import (
    ChatRequest,
    DecisionRequest,
    DialogueRequest,
    FeedbackRequest,
    QuestionFields,
    Review,
    Thanked,
)
from policy.webhook_target import check_target
from records.caller_tokens import CallerTokens
from settings.schema import Settings, TenantSettings

__all__ = ["NEW", "Core", "Said"]

NEW = "new"
"""As ``conversation``: opens one, whose id is in the reply."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Said:
    """A message on its way. ``reply`` is its turn's, or that it takes longer; ``reader`` tells its readers apart, and
    is left out where nobody else can know the message yet."""

    tenant: str
    settings: TenantSettings
    place: Place
    reply: asyncio.Task[Reply | Pending]
    cancels: bool
    reader: asyncio.Task[int] | None = None
    spent: Spent = field(default_factory=Spent)


class Core:
    """``stopping`` is set when the gateway goes down: nothing waits on."""

    def __init__(
        self,
        conversations: Conversations,
        settings: Settings,
        streams: TurnStreams,
        stopping: asyncio.Event,
        access: Access,
        limits: Limits,
        callers: CallerTokens,
    ) -> None:
        self.conversations = conversations
        self.settings = settings
        self.streams = streams
        self.stopping = stopping
        self.access = access
        self.limits = limits
        self._turns = CountedTurns(limits, conversations, stopping, self._beside)
        self._callers = callers
        self._going_on: set[asyncio.Task[None]] = set()

    # saying --------------------------------------------------------------------------------------

    def say(
        self,
        caller: Caller,
        chat: ChatRequest,
        *,
        message_id: str | None = None,
        address: str | None = None,
        opened_by: str,
        wait_seconds: float | None = None,
    ) -> Said:
        """Sends the message; whoever holds what this gives awaits :meth:`answer` or :meth:`follow`.

        ``message_id``: where the message itself brings none. ``wait_seconds``: then the reply is a Pending.
        Raises what is wrong with the message by itself; what the conversation refuses is raised by its reply.
        """
        caller.require("chat")
        tenant, settings = self.tenant(caller, chat.tenant)
        self._check(chat, settings)
        own_id = chat.message_id or message_id
        id_ = own_id or f"msg-{ULID()}"
        wishes = self._wishes(caller, chat, tenant, address)
        text, files = chat.question()
        digest = message_digest(text, files)
        if chat.conversation is None:
            question = DialogueStart(messages=_plain(chat), files=files, message_id=id_, **wishes)
            place = Place(dialogue_id(tenant, question.user, id_), id_, None, digest)
            saying = self.conversations.ask(question, dialogue=place.conversation, wait_seconds=wait_seconds)
        else:
            on_busy = chat.on_busy or settings.on_busy
            message = Say(text=text, files=files, message_id=id_, on_busy=on_busy, **wishes)
            conversation, fresh = chat.conversation, False
            if conversation == NEW and own_id:  # it may be sent again, and opens no second one then
                conversation = opened_conversation_id(tenant, message.user, own_id)
            elif conversation == NEW:
                conversation, fresh = new_conversation_id(), True
            place = Place(conversation, id_, 1 if fresh else None, digest)
            saying = self.conversations.say(
                place.conversation,
                message,
                fresh=fresh,
                start={"pending": settings.pending},
                wait_seconds=wait_seconds,
                opened_by=opened_by,
            )
        cancels = (chat.on_disconnect or settings.on_disconnect) == "cancel"
        spent = Spent()
        reply = self._counted(tenant, place, saying, spent)
        return Said(tenant, settings, place, reply, cancels, self._came(place) if own_id else None, spent)

    def _came(self, place: Place) -> asyncio.Task[int]:
        """Notes a reader beside what they wait for. Whoever says a message again comes back to it."""
        return asyncio.create_task(self.streams.came_to_read(message_stream(place.conversation, place.message_id)))

    def _counted(
        self, tenant: str, place: Place, saying: Coroutine[Any, Any, Reply | Pending], spent: Spent
    ) -> asyncio.Task[Reply | Pending]:
        return asyncio.ensure_future(self._turns.counted(tenant, place, saying, spent))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on when the request is over."""
        task = asyncio.create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    async def start(
        self, caller: Caller, given: DialogueRequest, *, message_id: str | None = None, address: str | None = None
    ) -> tuple[str, Reply | Pending]:
        """Starts a one-shot and waits ``given.wait`` seconds for it. Gives its tenant and its reply.

        Raises as :meth:`say`, and WebhookRefused.
        """
        caller.require("chat")
        tenant, settings = self.tenant(caller, given.tenant)
        self._check(given, settings)
        if given.webhook is not None:
            check_target(given.webhook.url, settings.webhook_hosts)
        id_ = given.message_id or message_id or f"msg-{ULID()}"
        text, files = given.question()
        question = DialogueStart(
            messages=_plain(given),
            files=files,
            message_id=id_,
            webhook=given.webhook,
            **self._wishes(caller, given, tenant, address),
        )
        dialogue = dialogue_id(tenant, question.user, id_)
        wait_seconds = min(given.wait, self.settings.gateway.wait_seconds)
        asked = self.conversations.ask(question, dialogue=dialogue, wait_seconds=wait_seconds)
        place = Place(dialogue, id_, None, message_digest(text, files))
        reply = self._counted(tenant, place, asked, Spent())
        said = Said(tenant, settings, place, reply, cancels=False)
        return tenant, await self.answer(said)

    async def dialogue(
        self, caller: Caller, dialogue: str, tenant: str | None = None
    ) -> tuple[str, Reply | Pending | Broken]:
        """A one-shot's tenant and how it stands. Raises UnknownConversation."""
        caller.require("chat")
        name, _ = self.tenant(caller, tenant)
        return name, await self.conversations.dialogue(dialogue, name)

    async def answer(self, said: Said) -> Reply | Pending:
        """The reply. When the gateway stops first, the caller is told how to come back for it."""
        stopped = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({said.reply, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not said.reply.done():
                raise _stopping(said)
            return said.reply.result()
        finally:
            stopped.cancel()
            said.reply.cancel()

    # following -----------------------------------------------------------------------------------

    async def follow(self, said: Said, after: int = 0) -> AsyncGenerator[TurnEvent, None]:
        """The turn's events behind ``after``, to the last one, ``final``. Raises the fault that ends it before.

        Whoever closes it earlier has left: the turn is then ended where ``said.cancels``.
        """
        ended = False
        reply: asyncio.Future[Reply] = said.reply  # type: ignore[assignment] - without a bound it is no Pending
        events = Pulled(self.streams.follow(said.place, said.tenant, said.settings, reply, after))
        stopped = asyncio.ensure_future(self.stopping.wait())
        stopped.add_done_callback(events.nudge)
        try:
            while True:
                while not events.ready:
                    if self.stopping.is_set():
                        raise _stopping(said)
                    await events.wait()
                event = await events.take()
                if event is None:
                    return
                if event.kind == "final":
                    ended = True
                    said.spent.tokens = event.data["usage"]["total_tokens"]
                    said.spent.answered_at = event.at
                yield event
        except ParleyFault:
            ended = True
            raise
        finally:
            try:
                await events.aclose()
            finally:  # also where the reader is cancelled once more meanwhile: else the reply is awaited for ever
                stopped.cancel()
                said.reply.cancel()
                if not ended:
                    self.left(said)

    def left(self, said: Said) -> None:
        """The reader left before the end. The turn is ended where ``said.cancels``, unless they come back in time."""
        if said.cancels and not self.stopping.is_set():
            self._beside(self._left(said))

    async def _left(self, said: Said) -> None:
        """Ends the turn, unless its reader is back in time, on whatever gateway."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), self.settings.gateway.come_back_seconds)
        place = said.place
        # by its message: which turn that became is not known to who left before it was accepted
        reader = await said.reader if said.reader else 0
        if await self.streams.newest_reader(message_stream(place.conversation, place.message_id)) != reader:
            return
        message = CancelTurn(tenant=said.tenant, message_id=place.message_id, reason="the reader left")
        try:
            await self.conversations.cancel_turn(place.conversation, message)
        except (NothingToCancel, UnknownConversation):
            pass
        except RecordsUnavailable as fault:  # it is made to its end, for nobody
            log.warning("turn not cancelled", conversation=place.conversation, reason=fault.message)

    async def resume(
        self,
        caller: Caller,
        conversation: str,
        *,
        tenant: str | None = None,
        turn: int | None = None,
        message_id: str | None = None,
    ) -> Said:
        """A turn that was said before, by whomever: to be followed again. The newest where none is named.

        Raises UnknownConversation and NoSuchTurn.
        """
        caller.require("chat")
        name, settings = self.tenant(caller, tenant)
        found = await self.conversations.transcript(conversation, name)
        summary = _turn_of(found, turn, message_id)
        number = summary.turn if summary else turn
        if number is None or not 1 <= number <= found.older + len(found.turns):
            raise NoSuchTurn(f"turn: {conversation} has no such turn. GET /v1/chat/{conversation} lists its turns.")
        place = Place(conversation, summary.message_id if summary else "", number)
        running = summary is not None and summary.state != "done"
        awaiting = asyncio.ensure_future(self._reply_of(place, name, running=running))
        if not running:  # there is nothing to cancel, and of a turn no longer carried no message to do it by
            return Said(name, settings, place, awaiting, cancels=False)
        return Said(name, settings, place, awaiting, settings.on_disconnect == "cancel", self._came(place))

    def _reply_of(self, place: Place, tenant: str, *, running: bool) -> Coroutine[Any, Any, Reply]:
        if running:
            return self.conversations.settled(place.conversation, place.message_id, tenant)
        return self._kept_reply(place, tenant)

    async def _kept_reply(self, place: Place, tenant: str) -> Reply:
        reply = await self.conversations.reply(place.conversation, place.turn or 1, tenant)
        if reply is None:
            raise NoSuchTurn(f"turn: the stream of turn {place.turn} of {place.conversation} is no longer kept.")
        return reply

    # a conversation ------------------------------------------------------------------------------

    async def transcript(self, caller: Caller, conversation: str, tenant: str | None = None) -> Transcript:
        """Raises UnknownConversation."""
        caller.require("chat")
        return await self.conversations.transcript(conversation, self.tenant(caller, tenant)[0])

    async def cancel(self, caller: Caller, conversation: str, message: CancelTurn, tenant: str | None) -> int:
        """The number of the turn that was cancelled. ``message.tenant`` is set here."""
        caller.require("chat")
        name, _ = self.tenant(caller, tenant)
        return await self.conversations.cancel_turn(conversation, message.model_copy(update={"tenant": name}))

    # judging -------------------------------------------------------------------------------------

    async def feedback(self, caller: Caller, given: FeedbackRequest) -> Thanked:
        """Raises UnknownConversation, NoSuchTurn and RecordsUnavailable."""
        caller.require("chat")
        tenant, _ = self.tenant(caller, given.tenant)
        user = caller.for_user(given.user)
        said = Feedback(tenant=tenant, user=user, **given.model_dump(include={"turn", "score", "comment"}))
        state = await give_feedback(self.conversations, self.settings, given.conversation, said)
        return Thanked(conversation=given.conversation, turn=given.turn, score=given.score, state=state)

    async def reviews(self, caller: Caller, tenant: str | None = None) -> list[Review]:
        """The turns that wait for a person; of every tenant where neither the caller nor ``tenant`` names one."""
        caller.require("review")
        one = self.tenant(caller, tenant)[0] if tenant or caller.tenant else None
        return await waiting_reviews(self.conversations, one)

    async def decide(self, caller: Caller, conversation: str, given: DecisionRequest) -> Reply:
        """Raises UnknownConversation and NoSuchReview."""
        caller.require("review")
        tenant, _ = self.tenant(caller, given.tenant)
        by = caller.user or given.by
        if by is None:
            raise InvalidRequest("by: is missing. Say who decides, for the records.", field="by")
        if (given.decision == "edit") != (given.answer is not None):
            raise InvalidRequest("answer: is given with the decision edit, and only then.", field="answer")
        decision = ResolveReview(**given.model_dump(exclude={"by", "tenant"}), by=by, tenant=tenant)
        return await decide(self.conversations, conversation, decision)

    # what may be asked ---------------------------------------------------------------------------

    def tenant(self, caller: Caller, asked: str | None) -> tuple[str, TenantSettings]:
        """The caller's tenant and its settings. Raises UnknownTenant."""
        name = caller.for_tenant(asked)
        if name not in self.settings.tenants:
            raise unknown_tenant(name)
        return name, self.settings.tenants[name]

    def _wishes(self, caller: Caller, chat: QuestionFields, tenant: str, address: str | None) -> dict[str, Any]:
        """What a message in a conversation and a question alone have in common. Raises Forbidden."""
        user = caller.for_user(chat.user)
        return {
            "tenant": tenant,
            "user": user,
            "address": address,
            "caller": self._callers.sign(tenant, user),
            "max_new_tokens": chat.max_tokens,
            **chat.model_dump(include={"temperature", "seed", "model"}),
        }

    def _check(self, chat: QuestionFields, tenant: TenantSettings) -> None:
        """What the shape of the fields alone does not tell."""
        roles = [message.role for message in chat.messages]
        conversation = chat.conversation if isinstance(chat, ChatRequest) else None
        if conversation is None and roles[-1] != "user":
            raise InvalidRequest(
                f"messages.{len(roles) - 1}.role: must be user, but is {roles[-1]}. The last message is the question.",
                field=f"messages.{len(roles) - 1}.role",
            )
        if "user" not in roles:
            raise InvalidRequest(
                "messages: holds no message with the role user. The last of those is what is said.", field="messages"
            )
        if conversation is not None and conversation.startswith(DIALOGUE_PREFIX):
            raise InvalidRequest(
                f"conversation: {conversation} was a single question. Choose an id that does not begin with "
                f"{DIALOGUE_PREFIX} and send the earlier messages no more.",
                field="conversation",
            )
        for index, message in enumerate(chat.messages):
            place, said = f"messages.{index}.content", message.content
            if len(said.text) > tenant.max_characters:
                raise MessageTooLong(
                    f"{place}: has {len(said.text)} characters. Send at most {tenant.max_characters}.", field=place
                )
            if said.files and message.role != "user":
                raise InvalidRequest(
                    f"{place}: brings a file in the role {message.role}. Send it in a message of the user.", field=place
                )
        _check_files(chat.question()[1], tenant)
        self._check_model(chat.model)

    def _check_model(self, model: str | None) -> None:
        known = self.models()
        if model is not None and model not in known:
            raise UnknownModel(f"model: there is no model {model}. There are: {', '.join(known)}.", field="model")

    def models(self) -> list[str]:
        """Names and aliases by which a model may be asked for; the default first."""
        settings = self.settings
        others = settings.models
        return list(
            dict.fromkeys(["default", settings.model.name, *others, *(other.name for other in others.values())])
        )


def _plain(chat: QuestionFields) -> tuple[ChatMessage, ...]:
    return tuple(message.plain() for message in chat.messages)


def _check_files(files: Sequence[TextFile], tenant: TenantSettings) -> None:
    """Of a question, together."""
    if len(files) > MOST_FILES:
        raise InvalidRequest(f"messages: bring {len(files)} files. Send at most {MOST_FILES}.", field="messages")
    total = sum(len(file.text) for file in files)
    if total > tenant.max_characters:
        raise MessageTooLong(
            f"messages: bring files of {total} characters together. Send at most {tenant.max_characters}.",
            field="messages",
        )


def _stopping(said: Said) -> RecordsUnavailable:
    return RecordsUnavailable(
        f"The gateway is stopping. Send it again with the message_id {said.place.message_id}: it is answered once."
    )


def _turn_of(transcript: Transcript, turn: int | None, message_id: str | None) -> TurnSummary | None:
    """The newest turn that fits; ``None`` where it is no longer carried."""
    fitting = (
        each
        for each in reversed(transcript.turns)
        if turn in (None, each.turn) and message_id in (None, each.message_id)
    )
    return next(fitting, None)
