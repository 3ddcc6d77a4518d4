"""Starts and messages conversations: the one core behind every transport and the command line."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowContinuedAsNewError,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from ulid import ULID

from dialogue.faults import (
    ConversationClosed,
    MessageIdReused,
    MessageTooLong,
    ParleyFault,
    RecordsUnavailable,
    UnknownConversation,
    all_faults,
    fault_named,
    unknown_conversation,
)
from dialogue.messages import (
    MAX_PAYLOAD_BYTES,
    CancelTurn,
    ConversationStart,
    DialogueStart,
    Feedback,
    ResolveReview,
    Say,
    message_digest,
)
from dialogue.turn import Reply, Transcript
from records.payloads import SEALED_FAILURE
from workflows import names
from workflows.wording import read_on

if TYPE_CHECKING:
    from records.data_keys import DataKeys

__all__ = [
    "DIALOGUE_PREFIX",
    "Broken",
    "Conversations",
    "Pending",
    "dialogue_id",
    "new_conversation_id",
    "new_dialogue_id",
    "opened_conversation_id",
]

ACCEPT_SECONDS = 60.0
"""How long a worker may take to accept a message; it does so before it does anything else."""
LOOK_SECONDS = 2.0
"""Of these, how long it may take to tell that it has."""
RUNS_LOOKED_AT = 100
"""Of one conversation, the newest ones."""
DIALOGUE_PREFIX = "dlg-"
Asked = TypeVar("Asked")
_DIGEST = "question"
_ENDED_WITH_ITS_RUN = "AcceptedUpdateCompletedWorkflow"
"""The server's own failure of an update that was accepted and not done when its run ended."""
_ENDS: dict[type[BaseException | None], str] = {CancelledError: "was cancelled", TerminatedError: "was terminated"}


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that was accepted and is not answered yet: where to look."""

    conversation: str
    message_id: str
    workflow_id: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Broken:
    """A one-shot that ended without a reply: terminated, cancelled from outside, or started with nonsense."""

    dialogue: str
    run_id: str | None
    problem: str


def new_conversation_id() -> str:
    return f"conv-{ULID()}"


def opened_conversation_id(tenant: str, user: str, message_id: str) -> str:
    """The one conversation that this message opened, so that sent twice it opens no other."""
    return f"conv-{_digest_of(tenant, user, message_id)}"


def new_dialogue_id() -> str:
    return f"{DIALOGUE_PREFIX}{ULID()}"


def dialogue_id(tenant: str, user: str, message_id: str) -> str:
    """The one dialogue of that message id, so that a question sent twice is asked once."""
    return DIALOGUE_PREFIX + _digest_of(tenant, user, message_id)


def _digest_of(*names: str) -> str:
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return base64.b32encode(digest[:20]).decode().lower()


def _question_digest(question: DialogueStart) -> str:
    said = question.model_dump_json(include={"question", "messages", "files"})
    return hashlib.sha256(said.encode()).hexdigest()


def _fault_of(error: WorkflowUpdateFailedError | WorkflowFailureError) -> ParleyFault:
    cause: BaseException | None = error.cause
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type:
            return fault_named(cause.type, cause.message)
        cause = getattr(cause, "cause", None)
    return ParleyFault(str(error.cause or error))


def _fault_of_query(error: WorkflowQueryFailedError, conversation: str) -> ParleyFault:
    """A failed query comes back as a message alone: so the words are compared, or the type where they are sealed."""
    unknown = unknown_conversation(conversation)
    sealed, _, type_ = error.message.partition(f"{SEALED_FAILURE}: ")
    if type_ and not sealed:
        fault = all_faults().get(type_)
        # what is no fault of ours is the SDK's: another workflow, which has no such query
        return unknown if fault is None or isinstance(unknown, fault) else fault(f"{fault.title}.")
    another_workflow = error.message.startswith("Query handler for")
    return unknown if another_workflow or error.message == unknown.message else ParleyFault(error.message)


class Conversations:
    """``client`` is connected with the plugin; ``task_queue`` is that of the pool which serves workflows; ``page`` the
    chat page's address, to which the Web UI links. ``keys``: of the protection that the client has."""

    def __init__(
        self, client: Client, *, task_queue: str, web_ui: str, page: str = "", keys: DataKeys | None = None
    ) -> None:
        self._keys = keys
        self.client = client
        self.task_queue = task_queue
        self._web_ui = web_ui.rstrip("/")
        self._page = page

    def trace_url(self, workflow_id: str, run_id: str | None = None) -> str:
        """The Web UI's page of a run; of the newest run where none is named."""
        url = f"{self._web_ui}/namespaces/{self.client.namespace}/workflows/{workflow_id}"
        return f"{url}/{run_id}" if run_id else url

    @overload
    async def say(
        self,
        conversation: str,
        message: Say,
        *,
        fresh: bool = False,
        start: Mapping[str, Any] | None = None,
        opened_by: str = "sdk",
    ) -> Reply: ...

    @overload
    async def say(
        self,
        conversation: str,
        message: Say,
        *,
        fresh: bool = False,
        start: Mapping[str, Any] | None = None,
        wait_seconds: float | None,
        opened_by: str = "sdk",
    ) -> Reply | Pending: ...

    async def say(
        self,
        conversation: str,
        message: Say,
        *,
        fresh: bool = False,
        start: Mapping[str, Any] | None = None,
        wait_seconds: float | None = None,
        opened_by: str = "sdk",
    ) -> Reply | Pending:
        """Says ``message`` in ``conversation``, which is opened if need be, in one round trip.

        ``fresh``: the id was just made, nothing older need be looked up. ``start`` overrides fields of
        ConversationStart (idle_timeout, turns_per_run, pending). A repeated ``message_id`` gets its first reply.
        Waits at most ``wait_seconds``; then gives :class:`Pending`.

        Raises the fault with which the conversation refused the message.
        """
        if conversation.startswith(names.KEEP_RECORDS_SCHEDULE):  # a sweep runs under it, or the next one will
            raise unknown_conversation(conversation)
        opening = ConversationStart(tenant=message.tenant, opened_by=opened_by, fresh=fresh, **dict(start or {}))

        def operation() -> WithStartWorkflowOperation[Any, Any]:  # one is good for one call
            return WithStartWorkflowOperation(
                names.CONVERSATION_WORKFLOW,
                opening,
                id=conversation,
                task_queue=self.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                search_attributes=TypedSearchAttributes([SearchAttributePair(names.TENANT, message.tenant)]),
                static_summary=f"tenant {message.tenant} · opened by {opened_by}",
                static_details=read_on(conversation, message.tenant, self._page),
            )

        await self._bind(conversation, message.tenant, message.user)
        loop = asyncio.get_running_loop()
        ends = None if wait_seconds is None else loop.time() + wait_seconds
        try:
            # Asked for at once with its result, a short turn costs one call and not two.
            first = _least(ACCEPT_SECONDS - LOOK_SECONDS, wait_seconds)
            handle = await self._sent(conversation, message, operation(), WorkflowUpdateStage.COMPLETED, first)
            if handle is None:
                handle = await self._accepted(conversation, message, operation())
            reply = await self._result(handle, ends)
        except WorkflowUpdateFailedError as error:
            raise _fault_of(error) from error
        except RPCError as error:
            raise _unavailable(error) from error
        if reply is not None:
            return await self._checked(reply, message)
        return Pending(conversation, message.message_id, conversation, handle.workflow_run_id)

    async def _bind(self, workflow_id: str, tenant: str, user: str) -> None:
        """Before anything of this user is sent there, so that it is sealed with what is theirs. Raises
        UnknownConversation."""
        if self._keys is not None:
            await self._keys.bind(workflow_id, tenant, user, takes_over=False)

    async def _checked(self, reply: Reply, message: Say) -> Reply:
        """Temporal answers a known update id with its first result, whatever is said now: so the text is held
        against the first one's here, and a turn that waited for a person is looked up again. Of a conversation that has
        ended it does so for another tenant too."""
        if reply.tenant != message.tenant:
            raise unknown_conversation(reply.conversation)
        if reply.text_digest != message_digest(message.text, message.files):
            raise MessageIdReused(
                f"message_id: {message.message_id} was used for another text. Give each message an id of its own.",
                field="message_id",
            )
        if reply.state == "waiting":
            return await self.reply(reply.conversation, reply.turn, message.tenant) or reply
        return reply

    async def _sent(
        self,
        conversation: str,
        message: Say,
        operation: WithStartWorkflowOperation[Any, Any],
        stage: WorkflowUpdateStage,
        seconds: float,
    ) -> WorkflowUpdateHandle[Reply] | None:
        """``None`` when the message has not come to ``stage`` in ``seconds``. Sent again, it is the same update."""
        sending = self.client.start_update_with_start_workflow(
            names.SAY,
            message,
            start_workflow_operation=operation,
            wait_for_stage=stage,
            id=message.message_id,
            result_type=Reply,
        )
        try:
            async with asyncio.timeout(seconds):
                return await sending
        except RPCError:
            await _hear(operation)
            raise
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            await _hear(operation)
        except TimeoutError:
            pass  # before the SDK came to send it
        _go_on_if_cancelled()
        return None

    async def _accepted(
        self, conversation: str, message: Say, operation: WithStartWorkflowOperation[Any, Any]
    ) -> WorkflowUpdateHandle[Reply]:
        """For a message that is not answered yet: whether it was accepted at all."""
        handle = await self._sent(conversation, message, operation, WorkflowUpdateStage.ACCEPTED, LOOK_SECONDS)
        if handle is None:
            raise RecordsUnavailable(
                f"conversation {conversation}: no worker of task queue {self.task_queue} took the message in time. "
                "Send it again with the same message_id; `parley doctor` tells what is missing."
            )
        return handle

    async def _result(self, handle: WorkflowUpdateHandle[Reply], ends: float | None) -> Reply | None:
        """``None`` when the loop's clock passes ``ends`` first."""
        try:
            async with asyncio.timeout_at(ends):
                return await handle.result()
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            _go_on_if_cancelled()
            return None
        except WorkflowUpdateFailedError as error:
            raise await self._why(error, handle.workflow_id, handle.workflow_run_id) from error

    async def _why(self, error: WorkflowUpdateFailedError, conversation: str, run_id: str | None = None) -> ParleyFault:
        """The fault of an update; of one that was accepted and ended with its run, that with which the run ended."""
        if not isinstance(error.cause, ApplicationError) or error.cause.type != _ENDED_WITH_ITS_RUN:
            return _fault_of(error)
        why = "ended"
        try:
            async with asyncio.timeout(LOOK_SECONDS):  # without a run's id there may be a newer run, which goes on
                await self.client.get_workflow_handle(conversation, run_id=run_id).result(follow_runs=False)
        except WorkflowFailureError as ended:
            fault = _fault_of(ended)
            if type(fault) is not ParleyFault:
                return fault
            why = _ENDS.get(type(ended.cause), why)
        except (TimeoutError, WorkflowContinuedAsNewError, RPCError):
            _go_on_if_cancelled()
        return ConversationClosed(
            f"conversation: its run {why} before this was answered. Send it again, a message with its message_id."
        )

    async def start_dialogue(
        self, question: DialogueStart, *, dialogue: str | None = None
    ) -> WorkflowHandle[Any, Reply]:
        """Starts a one-shot; its id is ``dialogue`` or a new one. Starting the same id twice gives the first.

        Raises MessageIdReused where the first asked something else, MessageTooLong where all of it is too much.
        """
        size = len(question.model_dump_json().encode())
        if size > MAX_PAYLOAD_BYTES:
            raise MessageTooLong(f"messages: have {size} bytes together. Send at most {MAX_PAYLOAD_BYTES}.")
        workflow_id = dialogue or new_dialogue_id()
        await self._bind(workflow_id, question.tenant, question.user)
        try:
            return await self.client.start_workflow(
                names.DIALOGUE_WORKFLOW,
                question,
                id=workflow_id,
                task_queue=self.task_queue,
                result_type=Reply,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                memo={_DIGEST: _question_digest(question)},
                search_attributes=TypedSearchAttributes([SearchAttributePair(names.TENANT, question.tenant)]),
                static_summary=f"tenant {question.tenant} · one question",
                static_details=read_on(workflow_id, question.tenant, self._page),
                rpc_timeout=timedelta(seconds=ACCEPT_SECONDS),
            )
        except WorkflowAlreadyStartedError as error:
            return await self._first_dialogue(workflow_id, error.run_id, question)

    async def _first_dialogue(
        self, workflow_id: str, run_id: str | None, question: DialogueStart
    ) -> WorkflowHandle[Any, Reply]:
        handle = self.client.get_workflow_handle(workflow_id, run_id=run_id, result_type=Reply)
        description = await handle.describe()
        if await description.memo_value(_DIGEST, default=None, type_hint=str) != _question_digest(question):
            raise MessageIdReused(
                f"message_id: {question.message_id or workflow_id} was used for another text. "
                "Give each message an id of its own.",
                field="message_id",
            )
        return handle

    @overload
    async def ask(self, question: DialogueStart, *, dialogue: str | None = None) -> Reply: ...

    @overload
    async def ask(
        self, question: DialogueStart, *, dialogue: str | None = None, wait_seconds: float | None
    ) -> Reply | Pending: ...

    async def ask(
        self, question: DialogueStart, *, dialogue: str | None = None, wait_seconds: float | None = None
    ) -> Reply | Pending:
        """One question, one answer, through a DialogueWorkflow. Waits as :meth:`say` does, once it has started it."""
        try:
            handle = await self.start_dialogue(question, dialogue=dialogue)
        except RPCError as error:
            raise _unavailable(error) from error
        try:
            async with asyncio.timeout(wait_seconds):
                return await self._answer(handle, question.tenant)
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            _go_on_if_cancelled()
            return Pending(handle.id, question.message_id or handle.id, handle.id, handle.result_run_id)
        except WorkflowFailureError as error:
            raise _fault_of(error) from error
        except RPCError as error:
            raise _unavailable(error) from error

    async def _answer(self, handle: WorkflowHandle[Any, Reply], tenant: str) -> Reply:
        """The reply as soon as there is one, also that a person has to decide first.

        All who wait share one update, which lasts as long as the turn: a server lets only so many be under way.
        """
        shared = f"{names.ANSWER}:{tenant}"
        try:
            reply = await self._ask_for_it(handle, tenant, shared)
            if reply.state == "waiting":  # as it was when the update ended
                reply = await self.reply(handle.id, reply.turn, tenant) or reply
            if reply.state == "running":  # a person has decided
                reply = await self._ask_for_it(handle, tenant, f"{shared}:decided")
            return reply
        except (WorkflowUpdateFailedError, RPCError) as error:
            ended = isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
            if not ended and not isinstance(error, WorkflowUpdateFailedError):
                raise
            return await handle.result()  # it ended before it was asked; its result, or why it failed

    async def _ask_for_it(self, handle: WorkflowHandle[Any, Reply], tenant: str, id_: str) -> Reply:
        return await handle.execute_update(names.ANSWER, {"tenant": tenant}, id=id_, result_type=Reply)

    async def dialogue(self, dialogue: str, tenant: str) -> Reply | Pending | Broken:
        """A one-shot as it stands now: its reply once it is done or waits for a person.

        Raises UnknownConversation, also for what is no one-shot of that tenant.
        """
        handle = self.client.get_workflow_handle(dialogue, result_type=Reply)
        try:
            found = await handle.describe()
        except RPCError as error:
            raise _lost(error, dialogue) from error
        own = found.typed_search_attributes.get(names.TENANT) == tenant
        if found.workflow_type != names.DIALOGUE_WORKFLOW or not own:
            raise unknown_conversation(dialogue)
        try:
            if found.status is not WorkflowExecutionStatus.RUNNING:
                return await handle.result()
        except WorkflowFailureError as error:
            return Broken(dialogue, found.run_id, _fault_of(error).message)
        except RPCError as error:
            raise _lost(error, dialogue) from error
        reply = await self.reply(dialogue, 1, tenant)
        if reply is not None and reply.state in ("waiting", "done"):
            return reply
        return Pending(dialogue, reply.message_id if reply else "", dialogue, found.run_id)

    async def settled(self, conversation: str, message_id: str, tenant: str) -> Reply:
        """The reply of a message that is being answered, once it is there or waits for a person."""
        handle = self.client.get_workflow_handle(conversation, result_type=Reply)
        try:
            if conversation.startswith(DIALOGUE_PREFIX):
                return await self._answer(handle, tenant)
            reply = await self._result(handle.get_update_handle(message_id, result_type=Reply), None)
            if reply is None:
                raise RecordsUnavailable(_NOBODY_ANSWERED)
            return reply
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            _go_on_if_cancelled()
            raise RecordsUnavailable(_NOBODY_ANSWERED) from error
        except (WorkflowUpdateFailedError, WorkflowFailureError) as error:
            raise _fault_of(error) from error
        except RPCError as error:
            raise _lost(error, conversation) from error

    async def transcript(self, conversation: str, tenant: str) -> Transcript:
        """The turns that the conversation still carries. Raises UnknownConversation for a foreign one."""
        transcript = await self._query_own(conversation, names.TRANSCRIPT, {"tenant": tenant}, Transcript)
        if transcript.tenant != tenant:
            raise unknown_conversation(conversation)
        return transcript

    async def reply(self, conversation: str, turn: int, tenant: str) -> Reply | None:
        """The reply of one of the last turns as it stands now; ``None`` when the run no longer holds it."""
        asked = {"tenant": tenant, "turn": turn}
        found = await self._query_own(conversation, names.REPLY, asked, dict)
        return Reply.model_validate(found) if found else None

    async def _query_own(self, conversation: str, name: str, argument: dict[str, Any], kind: type[Asked]) -> Asked:
        """Asks the newest run. Whoever tried to open a conversation that had ended, and was refused, left a run of its
        name: then the newest of the tenant's own is asked."""
        try:
            return await self._query(conversation, name, argument, kind)
        except UnknownConversation as fault:
            if not isinstance(fault.__cause__, WorkflowQueryFailedError):  # there is no run at all
                raise
            run_id = await self._own_run(conversation, argument["tenant"])
            if run_id is None:
                raise
        return await self._query(conversation, name, argument, kind, run_id)

    async def _own_run(self, conversation: str, tenant: str) -> str | None:
        """The newest run of that name, where that is another tenant's and an earlier one this one's."""
        own = f"WorkflowId = '{conversation}' AND Tenant = '{tenant}'"
        try:
            runs = [run async for run in self.client.list_workflows(own, limit=RUNS_LOOKED_AT)]
        except RPCError as error:
            raise _unavailable(error) from error
        newest = max(runs, key=lambda run: run.start_time, default=None)
        return newest.run_id if newest else None

    async def _query(
        self, conversation: str, name: str, argument: object, kind: type[Asked], run_id: str | None = None
    ) -> Asked:
        handle = self.client.get_workflow_handle(conversation, run_id=run_id)
        try:
            return await handle.query(name, argument, result_type=kind)
        except WorkflowQueryFailedError as error:
            raise _fault_of_query(error, conversation) from error
        except RPCError as error:
            raise _lost(error, conversation) from error

    async def cancel_turn(self, conversation: str, message: CancelTurn) -> Any:
        return await self._update(conversation, names.CANCEL_TURN, message)

    async def resolve_review(self, conversation: str, message: ResolveReview) -> Any:
        return await self._update(conversation, names.RESOLVE_REVIEW, message)

    async def signal_feedback(self, conversation: str, given: Feedback) -> bool:
        """Whether it runs, and so keeps what it was sent. A one-shot takes no feedback. Who comments speaks in it: what
        is said from then on is theirs too. Raises UnknownConversation."""
        handle = self.client.get_workflow_handle(conversation)
        try:
            description = await handle.describe()
            running = description.status is WorkflowExecutionStatus.RUNNING
            if description.workflow_type != names.CONVERSATION_WORKFLOW or not running:
                return False
            if given.comment:  # a score alone holds no text that could be forgotten
                await self._bind(conversation, given.tenant, given.user)
            await handle.signal(names.FEEDBACK, given)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise _unavailable(error) from error
        return True

    async def close(self, conversation: str, tenant: str) -> Any:
        return await self._update(conversation, names.CLOSE, {"tenant": tenant})

    async def _update(self, conversation: str, name: str, message: object) -> Any:
        handle = self.client.get_workflow_handle(conversation)
        try:
            return await handle.execute_update(name, message)
        except WorkflowUpdateFailedError as error:
            fault = await self._why(error, conversation)
            if fault.message.startswith("Update handler for"):  # another workflow's id: none of the caller's business
                raise unknown_conversation(conversation) from error
            raise fault from error
        except RPCError as error:
            raise _lost(error, conversation) from error

    async def waiting(self, tenant: str | None = None) -> AsyncIterator[tuple[str, Transcript]]:
        """Every running conversation in which a turn waits for a person, with its transcript."""
        # `Verdict` holds every verdict there was; a run of before `State` was told has none.
        query = "ExecutionStatus = 'Running' AND Verdict = 'human' AND (State = 'waiting' OR State IS NULL)"
        if tenant is not None:
            query += f" AND Tenant = '{tenant}'"
        async for execution in self.client.list_workflows(query):
            if execution.status is not WorkflowExecutionStatus.RUNNING:
                continue
            owner = execution.typed_search_attributes.get(names.TENANT) or tenant or "default"
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    transcript = await self.transcript(execution.id, owner)
            except (TimeoutError, UnknownConversation):
                continue  # no worker serves it, or it ended a moment ago: nobody could decide on it
            if transcript.waiting:
                yield execution.id, transcript


async def _hear(operation: WithStartWorkflowOperation[Any, Any]) -> None:
    """Of a call that failed, the operation holds the error too, for who asks it for the workflow; nobody does, and
    asyncio would log it as forgotten."""
    with contextlib.suppress(asyncio.CancelledError, RPCError, WorkflowAlreadyStartedError):
        await operation.workflow_handle()


def _go_on_if_cancelled() -> None:
    """The SDK tells a cancelled wait like one that took too long; a cancelled task must stay cancelled."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _least(bound: float, wait_seconds: float | None) -> float:
    return bound if wait_seconds is None else min(bound, wait_seconds)


_NOBODY_ANSWERED = "temporal: no worker answered in time. Does one run? `parley doctor` tells."
_NO_WORKER = (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED, RPCStatusCode.FAILED_PRECONDITION)


def _lost(error: RPCError, conversation: str) -> ParleyFault:
    """Of a call to a conversation that may not be there."""
    return unknown_conversation(conversation) if error.status is RPCStatusCode.NOT_FOUND else _unavailable(error)


def _unavailable(error: RPCError) -> ParleyFault:
    if error.status in _NO_WORKER:
        return RecordsUnavailable(_NOBODY_ANSWERED)
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return ParleyFault(f"temporal: {error.message}")
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return RecordsUnavailable(f"temporal: {error.message}. Send it again in a moment.")
    return RecordsUnavailable(f"temporal: {error.message}. Is the server running? `parley doctor` tells.")
