"""Starts and messages conversations: the one core behind every transport and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from ulid import ULID

from dialogue.faults import ParleyFault, RecordsUnavailable, fault_named, unknown_conversation
from dialogue.messages import CancelTurn, ConversationStart, DialogueStart, ResolveReview, Say
from dialogue.turn import Reply, Transcript
from workflows import names

__all__ = ["Conversations", "Pending", "new_conversation_id", "new_dialogue_id"]

ANSWERED_AFTER = timedelta(seconds=2)
Sent = TypeVar("Sent", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that was accepted and is not answered yet: where to look."""

    conversation: str
    message_id: str
    workflow_id: str
    run_id: str | None


def new_conversation_id() -> str:
    return f"conv-{ULID()}"


def new_dialogue_id() -> str:
    return f"dlg-{ULID()}"


def _fault_of(error: WorkflowUpdateFailedError | WorkflowQueryFailedError | WorkflowFailureError) -> ParleyFault:
    cause: BaseException | None = getattr(error, "cause", None) or error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type:
            return fault_named(cause.type, cause.message)
        cause = getattr(cause, "cause", None)
    return ParleyFault(str(error))


class Conversations:
    """``client`` is connected with the plugin; ``task_queue`` is that of the pool which serves workflows."""

    def __init__(self, client: Client, *, task_queue: str, web_ui: str) -> None:
        self.client = client
        self.task_queue = task_queue
        self._web_ui = web_ui.rstrip("/")

    def trace_url(self, workflow_id: str, run_id: str | None = None) -> str:
        """The Web UI's page of a run; of the newest run where none is named."""
        url = f"{self._web_ui}/namespaces/{self.client.namespace}/workflows/{workflow_id}"
        return f"{url}/{run_id}" if run_id else url

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
        opening = ConversationStart(tenant=message.tenant, opened_by=opened_by, fresh=fresh, **dict(start or {}))
        operation = WithStartWorkflowOperation(
            names.CONVERSATION_WORKFLOW,
            opening,
            id=conversation,
            task_queue=self.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=TypedSearchAttributes([SearchAttributePair(names.TENANT, message.tenant)]),
            static_summary=f"tenant {message.tenant} · opened by {opened_by}",
        )
        try:
            handle: WorkflowUpdateHandle[Reply] = await self.client.start_update_with_start_workflow(
                names.SAY,
                message,
                start_workflow_operation=operation,
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                id=message.message_id,
                result_type=Reply,
            )
            reply = await self._result(handle, wait_seconds)
        except WorkflowUpdateFailedError as error:
            raise _fault_of(error) from error
        except RPCError as error:
            raise _unavailable(error) from error
        if reply is not None:
            return reply
        return Pending(conversation, message.message_id, conversation, handle.workflow_run_id)

    async def _result(self, handle: WorkflowUpdateHandle[Reply], wait_seconds: float | None) -> Reply | None:
        try:
            if wait_seconds is None:
                return await handle.result()
            return await asyncio.wait_for(handle.result(), wait_seconds)
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            return None

    async def start_dialogue(
        self, question: DialogueStart, *, dialogue: str | None = None
    ) -> WorkflowHandle[Any, Reply]:
        """Starts a one-shot; its id is ``dialogue`` or a new one. Starting the same id twice gives the first."""
        workflow_id = dialogue or new_dialogue_id()
        return await self.client.start_workflow(
            names.DIALOGUE_WORKFLOW,
            question,
            id=workflow_id,
            task_queue=self.task_queue,
            result_type=Reply,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=TypedSearchAttributes([SearchAttributePair(names.TENANT, question.tenant)]),
            static_summary=f"tenant {question.tenant} · one question",
        )

    async def ask(self, question: DialogueStart, *, dialogue: str | None = None) -> Reply:
        """One question, one answer, through a DialogueWorkflow."""
        try:
            handle = await self.start_dialogue(question, dialogue=dialogue)
            return await handle.result()
        except WorkflowFailureError as error:
            raise _fault_of(error) from error
        except RPCError as error:
            raise _unavailable(error) from error

    async def transcript(self, conversation: str, tenant: str) -> Transcript:
        """The turns that the conversation still carries. Raises UnknownConversation for a foreign one."""
        handle = self.client.get_workflow_handle(conversation)
        try:
            return await handle.query(names.TRANSCRIPT, {"tenant": tenant}, result_type=Transcript)
        except WorkflowQueryFailedError as error:
            raise _fault_of(error) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise unknown_conversation(conversation) from error
            raise _unavailable(error) from error

    async def cancel_turn(self, conversation: str, message: CancelTurn) -> Any:
        return await self._update(conversation, names.CANCEL_TURN, message)

    async def resolve_review(self, conversation: str, message: ResolveReview) -> Any:
        return await self._update(conversation, names.RESOLVE_REVIEW, message)

    async def close(self, conversation: str, tenant: str) -> Any:
        return await self._update(conversation, names.CLOSE, {"tenant": tenant})

    async def _update(self, conversation: str, name: str, message: object) -> Any:
        handle = self.client.get_workflow_handle(conversation)
        try:
            return await handle.execute_update(name, message)
        except WorkflowUpdateFailedError as error:
            raise _fault_of(error) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise unknown_conversation(conversation) from error
            raise _unavailable(error) from error

    async def waiting(self, tenant: str | None = None) -> AsyncIterator[tuple[str, Transcript]]:
        """Every running conversation in which a turn waits for a person, with its transcript."""
        query = f"WorkflowType = '{names.CONVERSATION_WORKFLOW}' AND ExecutionStatus = 'Running' AND Verdict = 'human'"
        if tenant is not None:
            query += f" AND Tenant = '{tenant}'"
        async for execution in self.client.list_workflows(query):
            if execution.status is not WorkflowExecutionStatus.RUNNING:
                continue
            owner = execution.typed_search_attributes.get(names.TENANT) or tenant or "default"
            transcript = await self.transcript(execution.id, owner)
            if transcript.waiting:
                yield execution.id, transcript


def _unavailable(error: RPCError) -> ParleyFault:
    return RecordsUnavailable(f"temporal: {error.message}. Is the server running? `parley doctor` tells.")
