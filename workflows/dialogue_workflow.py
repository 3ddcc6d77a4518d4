"""One question, one answer: what a business service starts by name, from any Temporal SDK, with a JSON object."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from dialogue.faults import NothingToCancel, unknown_conversation
    from dialogue.messages import CancelTurn, DialogueStart, ResolveReview, Say, TenantOnly, TurnKey, TurnOnly
    from dialogue.turn import Reply, Transcript

from workflows import visible
from workflows.inputs import application_error, ignored_signal, one_argument, parse
from workflows.memory import Memory
from workflows.progress import TurnInProgress
from workflows.review import refuse_unless_waiting, resolve
from workflows.turn import take_turn
from workflows.webhook import deliver

__all__ = ["DialogueWorkflow"]


@workflow.defn(name="DialogueWorkflow")
class DialogueWorkflow:
    """A turn without a conversation. Its workflow id is its conversation, its turn is number 1."""

    def __init__(self) -> None:
        self._turn: TurnInProgress | None = None
        self._task: asyncio.Task[None] | None = None
        self._memory = Memory()

    @workflow.run
    @one_argument
    async def run(self, raw: RawValue) -> Reply:
        start = parse(raw, DialogueStart)
        self._turn = turn = TurnInProgress(
            TurnKey(conversation=workflow.info().workflow_id, turn=1, tenant=start.tenant),
            _said(start),
            workflow.now(),
            history=start.messages[:-1],
            said_at=workflow.info().start_time,
        )
        self._memory.total = 1
        visible.show_state("running", start.tenant)
        self._task = asyncio.create_task(take_turn(turn))
        watch = asyncio.create_task(visible.show_while_waiting(self._memory, turn))
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._cancel("the workflow was cancelled")
            await workflow.wait([self._task])
            raise
        finally:
            watch.cancel()
            # A run that was thrown away ends here when it is collected, which may be while another one runs.
            if not isinstance(sys.exception(), GeneratorExit):
                visible.show(self._memory, turn, "closed")
        if start.webhook is not None:
            await deliver(start.webhook.url, turn)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return turn.reply()

    @workflow.update(name="answer", description="The reply, or that a person has to decide first: waits for either.")
    @one_argument
    async def answer(self, raw: RawValue) -> Reply:
        asked = parse(raw, TenantOnly)
        await workflow.wait_condition(lambda: self._turn is not None)
        turn = self._of_tenant(asked.tenant)
        if turn is None:  # not reached: it is what was waited for
            raise application_error(unknown_conversation(workflow.info().workflow_id))
        await workflow.wait_condition(lambda: turn.settled)
        return turn.reply()

    @answer.validator
    @one_argument
    def _validate_answer(self, raw: RawValue) -> None:
        self._of_tenant(parse(raw, TenantOnly).tenant)

    @workflow.update(name="cancel_turn", description="Cancel the question.")
    @one_argument
    async def cancel_turn(self, raw: RawValue) -> int:
        """Gives the number of the turn, once its reply says that it was cancelled."""
        turn = self._of_tenant(parse(raw, CancelTurn).tenant)
        if turn is None or turn.returning:
            raise application_error(NothingToCancel("turn: nothing runs any more"))
        self._cancel(parse(raw, CancelTurn).reason or "cancelled by the caller")
        await workflow.wait_condition(lambda: turn.state == "done")
        return turn.key.turn

    @cancel_turn.validator
    @one_argument
    def _validate_cancel(self, raw: RawValue) -> None:
        self._of_tenant(parse(raw, CancelTurn).tenant)

    @workflow.update(name="resolve_review", description="A person's decision on the answer: approve, edit, reject.")
    @one_argument
    async def resolve_review(self, raw: RawValue) -> Reply:
        return await resolve(self._turn, parse(raw, ResolveReview))

    @resolve_review.validator
    @one_argument
    def _validate_resolve(self, raw: RawValue) -> None:
        message = parse(raw, ResolveReview)
        refuse_unless_waiting(self._of_tenant(message.tenant), message)

    @workflow.signal(dynamic=True)
    async def _unknown_signal(self, name: str, _arguments: Sequence[RawValue]) -> None:
        ignored_signal(name)

    @workflow.query(name="transcript", description="The question and, once it is there, the answer.")
    @one_argument
    def transcript(self, raw: RawValue) -> Transcript:
        turn = self._of_tenant(parse(raw, TenantOnly).tenant)
        turns = [turn.summary()] if turn else []
        return Transcript(
            conversation=workflow.info().workflow_id,
            tenant=turn.key.tenant if turn else TenantOnly().tenant,
            turns=tuple(turns),
            waiting=visible.waiting(turns),
        )

    @workflow.query(name="reply", description="The reply as it stands now.")
    @one_argument
    def reply(self, raw: RawValue) -> Reply | None:
        turn = self._of_tenant(parse(raw, TurnOnly).tenant)
        return turn.reply() if turn else None

    def _cancel(self, why: str) -> None:
        if self._turn is None or self._turn.returning or self._turn.cancelled:
            return
        self._turn.cancelled = why
        if self._task is not None:
            self._task.cancel()

    def _of_tenant(self, tenant: str) -> TurnInProgress | None:
        turn = self._turn
        if turn is not None and tenant != turn.key.tenant:
            raise application_error(unknown_conversation(workflow.info().workflow_id))
        return turn


def _said(start: DialogueStart) -> Say:
    text = start.question if start.question is not None else start.messages[-1].content
    return Say(
        message_id=start.message_id or "question",
        text=text,
        files=start.files,
        tenant=start.tenant,
        user=start.user,
        address=start.address,
        caller=start.caller,
        temperature=start.temperature,
        seed=start.seed,
        max_new_tokens=start.max_new_tokens,
        model=start.model,
    )
