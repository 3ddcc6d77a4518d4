"""One workflow a conversation: its messages in order, one turn at a time, for as long as people talk.

``say`` is an update whose id is the client's message id. A message is queued and its handler waits until the turn is
answered, so order is the order of arrival and Temporal keeps every accepted message. The run continues as new when
the server suggests it and no handler runs; ids and summaries travel along (:mod:`workflows.memory`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from dialogue.faults import (
        ConversationBusy,
        ConversationClosed,
        MessageIdReused,
        NothingToCancel,
        ParleyFault,
        unknown_conversation,
    )
    from dialogue.messages import (
        CancelTurn,
        ConversationStart,
        Feedback,
        Forked,
        ResolveReview,
        Say,
        TenantOnly,
        TurnKey,
        TurnOnly,
        message_digest,
    )
    from dialogue.steps import RecallConversation
    from dialogue.turn import ConversationEnd, Recalled, Reply, Transcript

from workflows import runs, visible
from workflows.inputs import application_error, ignored_signal, one_argument, parse
from workflows.memory import Memory, brief
from workflows.progress import TurnInProgress
from workflows.review import refuse_unless_waiting, resolve
from workflows.steps import fault_type
from workflows.turn import take_turn

__all__ = ["ConversationWorkflow"]

IDLE_SECONDS = 24 * 3600.0
KEPT_REPLIES = 8
REPLY_HELD = "reply-held"
"""Since then a repeated message is answered without an activity, where its run still holds the reply."""
IDLE_WAITS = "idle-waits"
"""Since then a turn that outlasts the idle time is awaited without timers; there was one a second."""
FEEDBACK_UNKEPT = "feedback-unkept"
"""Since then feedback that cannot be kept is told in the log; it ended the conversation."""
RECALL_TIMEOUT = timedelta(seconds=10)
HEARTBEAT_TIMEOUT = timedelta(seconds=2)


@workflow.defn(name="ConversationWorkflow")
class ConversationWorkflow:
    """A conversation of one tenant."""

    @workflow.init
    @one_argument
    def __init__(self, raw: RawValue) -> None:
        self._bad_start: ApplicationError | None = None
        self._start = ConversationStart()
        self._memory = Memory()
        try:
            self._start = parse(raw, ConversationStart)
            self._memory = Memory(runs.carried(self._start))
        except ApplicationError as error:  # told by run(): an init that raises would fail the task for ever
            self._bad_start = error
        self._foreign = False
        """Whether the conversation is another tenant's: then nothing is told of this run either."""
        self._recalled = self._start.fresh or self._start.carried is not None
        self._queue: list[TurnInProgress] = []
        self._current: TurnInProgress | None = None
        self._task: asyncio.Task[None] | None = None
        self._replies: dict[int, Reply] = {}
        self._turns_here = 0
        self._closing = False
        self._last_active = workflow.time()

    # the life of a conversation ------------------------------------------------------------------

    @workflow.run
    @one_argument
    async def run(self, raw: RawValue) -> ConversationEnd:
        if self._bad_start is not None:
            raise self._bad_start
        visible.show_start(self._start.tenant, resting=workflow.all_handlers_finished())
        if not self._recalled:
            try:
                await self._recall()
            except (FailureError, asyncio.CancelledError):
                # Whoever waits here is told why by the run's own end: an update that this run failed would be the
                # answer to its message id also when that is sent again, and would open nothing.
                visible.show_unopened()
                raise
        visible.show_earlier(self._memory, self._start.tenant)
        idle = asyncio.create_task(self._watch_idle())
        try:
            while True:
                if self._queue:
                    await self._take(self._queue[0])
                elif not workflow.all_handlers_finished():
                    await workflow.wait_condition(lambda: bool(self._queue) or workflow.all_handlers_finished())
                elif self._closing or idle.done():
                    return self._end("closed" if self._closing else "idle")
                elif self._due():
                    runs.go_on(self._start, self._memory)
                else:
                    await workflow.wait_condition(
                        lambda: bool(self._queue) or self._closing or idle.done() or self._due()
                    )
        except asyncio.CancelledError:
            await self._give_up()
            visible.show_state("closed")
            raise
        finally:
            idle.cancel()

    async def _take(self, turn: TurnInProgress) -> None:
        turn.history = self._memory.history()
        self._current = turn
        visible.show_state("running")
        self._task = asyncio.create_task(take_turn(turn), context=turn.context)
        watch = asyncio.create_task(visible.show_while_waiting(self._memory, turn))
        try:
            await asyncio.shield(self._task)
        finally:
            watch.cancel()
        self._settle(turn)

    def _settle(self, turn: TurnInProgress) -> None:
        self._queue.remove(turn)
        self._replies[turn.key.turn] = turn.reply()
        while len(self._replies) > KEPT_REPLIES:
            del self._replies[next(iter(self._replies))]
        self._current = self._task = None
        self._turns_here += 1
        self._last_active = workflow.time()
        visible.show(self._memory, turn, "running" if self._queue else "idle")

    async def _give_up(self) -> None:
        """The workflow itself was cancelled: every accepted message still gets its row and its reply, and no more are
        accepted."""
        self._closing = True
        for turn in list(self._queue):
            if turn is self._current and self._task is not None:
                self._cancel(turn, "the workflow was cancelled")
                await workflow.wait([self._task])
                self._settle(turn)
            else:
                turn.cancelled = "the workflow was cancelled"
                await self._take(turn)
        await workflow.wait_condition(workflow.all_handlers_finished)

    def _due(self) -> bool:
        return runs.due(self._start, self._turns_here)

    async def _watch_idle(self) -> None:
        """One timer for a whole idle time, not one a turn: it looks when it wakes how long nobody has spoken."""
        limit = self._start.idle_timeout or IDLE_SECONDS
        while True:
            left = self._last_active + limit - workflow.time()
            if left <= 0 and not self._queue:
                return
            if left <= 0 and workflow.patched(IDLE_WAITS):
                await workflow.wait_condition(lambda: not self._queue)
            else:
                await workflow.sleep(max(left, 1.0), summary="closes when nobody has spoken for so long")

    def _end(self, reason: str) -> ConversationEnd:
        visible.show_state("closed")
        return ConversationEnd.model_validate(
            {
                "conversation": workflow.info().workflow_id,
                "tenant": self._start.tenant,
                "turns": self._memory.total,
                "reason": reason,
            }
        )

    async def _recall(self) -> None:
        """Takes up what an earlier run left. One that was another tenant's is not opened under its name: whoever waits
        is told what they would be told of it while it ran, and so is whoever comes before this run has ended."""
        recalled = await self._ask_the_audit(None)
        if recalled.foreign:
            self._foreign = True
            self._bad_start = application_error(unknown_conversation(workflow.info().workflow_id))
        self._memory.recall(recalled)
        self._recalled = True
        if self._bad_start is not None:
            await workflow.wait_condition(workflow.all_handlers_finished)
            raise self._bad_start

    async def _ask_the_audit(self, turn: int | None) -> Recalled:
        info = workflow.info()
        return await workflow.execute_activity(
            "recall_conversation",
            RecallConversation(conversation=info.workflow_id, tenant=self._start.tenant, turn=turn),
            result_type=Recalled,
            start_to_close_timeout=RECALL_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary="what an earlier run of this conversation held",
        )

    # say -----------------------------------------------------------------------------------------

    @workflow.update(name="say", description="Say something; the update's id is the message id. Gives the reply.")
    @one_argument
    async def say(self, raw: RawValue) -> Reply:
        message = parse(raw, Say)
        await workflow.wait_condition(lambda: self._recalled)
        if self._bad_start is not None:
            raise self._bad_start
        # The validator ran before an earlier run's ids were known; so the id is held against them here.
        self._refuse_reused_id(message)
        known = self._turn_saying(message.message_id)
        if known is None and self._memory.used(message.message_id):
            return await self._first_reply(message)
        if known is None and message.on_busy == "interrupt":
            for other in list(self._queue):
                self._cancel(other, "interrupted by a newer message")
        turn = known or self._accept(message)
        await workflow.wait_condition(lambda: turn.settled)
        return turn.reply()

    @say.validator
    @one_argument
    def _validate_say(self, raw: RawValue) -> None:
        message = parse(raw, Say)
        if self._bad_start is not None:
            raise self._bad_start
        self._refuse_foreign(message.tenant)
        self._refuse_reused_id(message)
        if self._turn_saying(message.message_id) or self._memory.used(message.message_id):
            return
        if self._closing:
            self._refuse(ConversationClosed("conversation: it is being closed. Open another one."))
        if message.on_busy == "reject" and self._queue:
            self._refuse(
                ConversationBusy(
                    "conversation: another message is being answered. Say it again when that is done, "
                    "or send on_busy: queue."
                )
            )
        if len(self._queue) >= self._start.pending:
            self._refuse(
                ConversationBusy(
                    f"conversation: {len(self._queue)} messages wait already, which is its bound. "
                    "Say it again when one is answered."
                )
            )

        if runs.full():
            self._refuse(
                ConversationBusy("conversation: its run is full and goes on as a new one. Say it again in a moment.")
            )

    def _accept(self, message: Say) -> TurnInProgress:
        self._memory.total += 1
        key = TurnKey(conversation=workflow.info().workflow_id, turn=self._memory.total, tenant=self._start.tenant)
        turn = TurnInProgress(key, message, workflow.now())
        self._memory.use_id(message, key.turn)
        self._queue.append(turn)
        return turn

    def _turn_saying(self, message_id: str) -> TurnInProgress | None:
        return next((turn for turn in self._queue if turn.say.message_id == message_id), None)

    async def _first_reply(self, message: Say) -> Reply:
        """The reply of a message that was answered before: this run's own, or the audit's, which has it whole."""
        used = self._memory.used(message.message_id)
        held = self._replies.get(used.turn) if used else None
        if held is not None and workflow.patched(REPLY_HELD):
            return held
        recalled = await self._ask_the_audit(used.turn if used else None)
        if recalled.reply is None:
            raise application_error(MessageIdReused(f"message_id: {message.message_id} was used, and its turn is gone"))
        return recalled.reply.model_copy(update={"run_id": recalled.reply.run_id or workflow.info().run_id})

    # the other messages --------------------------------------------------------------------------

    @workflow.update(name="cancel_turn", description="Cancel the running turn, or one that still waits its turn.")
    @one_argument
    async def cancel_turn(self, raw: RawValue) -> int:
        """Gives the number of the turn, once its reply says that it was cancelled."""
        message = parse(raw, CancelTurn)
        turn = self._cancellable(message)
        if turn is None:
            raise application_error(NothingToCancel("turn: nothing runs any more"))
        self._cancel(turn, message.reason or "cancelled by the caller")
        await workflow.wait_condition(lambda: turn.state == "done")
        return turn.key.turn

    @cancel_turn.validator
    @one_argument
    def _validate_cancel(self, raw: RawValue) -> None:
        message = parse(raw, CancelTurn)
        self._refuse_foreign(message.tenant)
        if self._cancellable(message) is None:
            self._refuse(NothingToCancel("turn: no such turn runs or waits"))

    def _cancellable(self, message: CancelTurn) -> TurnInProgress | None:
        if message.turn is None and message.message_id is None:
            return self._current if self._current and not self._current.returning else None
        for turn in self._queue:
            asked = message.turn in (None, turn.key.turn) and message.message_id in (None, turn.say.message_id)
            if asked and not turn.returning:
                return turn
        return None

    def _cancel(self, turn: TurnInProgress, why: str) -> None:
        if turn.returning or turn.cancelled:
            return
        turn.cancelled = why
        if turn is self._current and self._task is not None:
            self._task.cancel()

    @workflow.update(
        name="resolve_review", description="A person's decision on a turn that waits: approve, edit, reject."
    )
    @one_argument
    async def resolve_review(self, raw: RawValue) -> Reply:
        message = parse(raw, ResolveReview)
        return await resolve(self._current, message)

    @resolve_review.validator
    @one_argument
    def _validate_resolve(self, raw: RawValue) -> None:
        message = parse(raw, ResolveReview)
        self._refuse_foreign(message.tenant)
        refuse_unless_waiting(self._current, message)

    @workflow.update(name="close", description="Close the conversation once what was said is answered.")
    @one_argument
    async def close(self, raw: RawValue) -> int:
        """Gives the number of turns."""
        self._closing = True
        await workflow.wait_condition(lambda: not self._queue)
        return self._memory.total

    @close.validator
    @one_argument
    def _validate_close(self, raw: RawValue) -> None:
        self._refuse_foreign(parse(raw, TenantOnly).tenant)

    @workflow.signal(name="feedback", description="What a person thought of an answer: turn, score -1 to 1, comment.")
    @one_argument
    async def feedback(self, raw: RawValue) -> None:
        try:
            message = parse(raw, Feedback)
        except ApplicationError as error:
            workflow.logger.warning("feedback ignored: %s", error.message)
            return
        if message.tenant != self._start.tenant or message.turn > self._memory.total:
            workflow.logger.warning("feedback ignored: it names no turn of this conversation")
            return
        try:
            await workflow.execute_activity(
                "keep_feedback",
                args=[workflow.info().workflow_id, message],
                start_to_close_timeout=RECALL_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
                summary=f"turn {message.turn} · feedback",
            )
        except ActivityError as error:  # which would leave the handler, and so fail the workflow
            if not workflow.patched(FEEDBACK_UNKEPT):
                raise
            workflow.logger.warning("feedback of turn %s is not kept: %s", message.turn, fault_type(error))

    @workflow.signal(
        name="forked", description="It was reset to before a turn: who did it, why, and what was numbered."
    )
    @one_argument
    async def forked(self, raw: RawValue) -> None:
        """The next turn is counted behind those that the reset left: the audit has their rows."""
        try:
            message = parse(raw, Forked)
        except ApplicationError as error:
            workflow.logger.warning("forked ignored: %s", error.message)
            return
        if message.tenant == self._start.tenant:
            self._memory.total = max(self._memory.total, message.total)

    @workflow.signal(dynamic=True)
    async def _unknown_signal(self, name: str, _arguments: Sequence[RawValue]) -> None:
        ignored_signal(name)

    @workflow.query(name="transcript", description="The turns that this conversation carries, and which of them wait.")
    @one_argument
    def transcript(self, raw: RawValue) -> Transcript:
        self._refuse_foreign(parse(raw, TenantOnly).tenant)
        turns = list(self._memory.turns)
        known = {turn.turn for turn in turns}
        turns += [brief(turn.summary()) for turn in self._queue if turn.key.turn not in known]
        return Transcript(
            conversation=workflow.info().workflow_id,
            tenant=self._start.tenant,
            older=max(0, self._memory.total - len(turns)),
            turns=tuple(turns),
            waiting=visible.waiting(turns),
            closed=self._closing,
        )

    @workflow.query(name="reply", description="The reply of one of this run's last turns, as it stands now.")
    @one_argument
    def reply(self, raw: RawValue) -> Reply | None:
        """``None`` when this run does not hold it."""
        asked = parse(raw, TurnOnly)
        self._refuse_foreign(asked.tenant)
        turn = next((turn for turn in self._queue if turn.key.turn == asked.turn), None)
        return turn.reply() if turn else self._replies.get(asked.turn)

    # refusals ------------------------------------------------------------------------------------

    def _refuse(self, fault: ParleyFault) -> None:
        raise application_error(fault)

    def _refuse_foreign(self, tenant: str) -> None:
        if tenant != self._start.tenant or self._foreign:
            self._refuse(unknown_conversation(workflow.info().workflow_id))

    def _refuse_reused_id(self, message: Say) -> None:
        used = self._memory.used(message.message_id)
        if used is not None and used.text_digest != message_digest(message.text, message.files):
            self._refuse(
                MessageIdReused(
                    f"message_id: {message.message_id} was used for another text. Give each message an id of its own."
                )
            )
