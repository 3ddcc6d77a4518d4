"""One question, one answer: what a business service starts by name, from any Temporal SDK, with a JSON object."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from dialogue.faults import unknown_conversation
    from dialogue.messages import ConversationStart, DialogueStart, ResolveReview, Say, TurnKey
    from dialogue.turn import Reply, Transcript

from workflows import visible
from workflows.inputs import application_error, parse
from workflows.memory import Memory
from workflows.progress import TurnInProgress
from workflows.review import refuse_unless_waiting, resolve
from workflows.turn import take_turn

__all__ = ["DialogueWorkflow"]


@workflow.defn(name="DialogueWorkflow")
class DialogueWorkflow:
    """A turn without a conversation. Its workflow id is its conversation, its turn is number 1."""

    def __init__(self) -> None:
        self._turn: TurnInProgress | None = None
        self._memory = Memory()

    @workflow.run
    async def run(self, raw: RawValue | None = None) -> Reply:
        start = parse(raw, DialogueStart)
        self._turn = turn = TurnInProgress(
            TurnKey(conversation=workflow.info().workflow_id, turn=1, tenant=start.tenant),
            _said(start),
            workflow.now(),
            history=start.messages[:-1],
        )
        self._memory.total = 1
        task = asyncio.create_task(take_turn(turn))
        watch = asyncio.create_task(visible.show_while_waiting(self._memory, turn))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            turn.cancelled = "the workflow was cancelled"
            if not turn.returning:
                task.cancel()
            await workflow.wait([task])
            raise
        finally:
            watch.cancel()
            visible.show(self._memory, turn)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return turn.reply()

    @workflow.update(name="resolve_review", description="A person's decision on the answer: approve, edit, reject.")
    async def resolve_review(self, raw: RawValue) -> Reply:
        return await resolve(self._turn, parse(raw, ResolveReview))

    @resolve_review.validator
    def _validate_resolve(self, raw: RawValue) -> None:
        message = parse(raw, ResolveReview)
        if self._turn is not None and message.tenant != self._turn.key.tenant:
            raise application_error(unknown_conversation(workflow.info().workflow_id))
        refuse_unless_waiting(self._turn, message)

    @workflow.query(name="transcript", description="The question and, once it is there, the answer.")
    def transcript(self) -> Transcript:
        turns = [self._turn.summary()] if self._turn else []
        tenant = self._turn.key.tenant if self._turn else ConversationStart().tenant
        return Transcript(
            conversation=workflow.info().workflow_id,
            tenant=tenant,
            turns=tuple(turns),
            waiting=visible.waiting(turns),
        )


def _said(start: DialogueStart) -> Say:
    text = start.question if start.question is not None else start.messages[-1].content
    return Say(
        message_id=start.message_id or "question",
        text=text,
        tenant=start.tenant,
        user=start.user,
        address=start.address,
        temperature=start.temperature,
        seed=start.seed,
        max_new_tokens=start.max_new_tokens,
        model=start.model,
    )
