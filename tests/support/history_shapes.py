"""The shapes of conversations that are recorded: what is said and done in each, by name."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy

from dialogue.faults import BadInput, ParleyFault
from dialogue.messages import CancelTurn, DialogueStart, ResolveReview, Say
from dialogue.plan import RetryPlan, StepPlan
from gateway.conversations import Conversations
from tests.support.scripted_faults import ScriptedFaults
from tests.support.scripted_steps import ScriptedSteps

__all__ = ["SHAPES", "Recorder"]


class Recorder:
    """One conversation of a shape: says things in it, then closes it."""

    def __init__(self, client: Client, steps: ScriptedSteps, faults: ScriptedFaults, name: str) -> None:
        self.client, self.steps, self.faults = client, steps, faults
        self.core = Conversations(client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233")
        self.id = f"conv-{name}"
        self.start: dict[str, object] = {}
        self.runs: list[str] = []

    async def say(self, *texts: str) -> None:
        for text in texts:
            number = uuid.uuid5(uuid.NAMESPACE_OID, text).hex[:6]
            say = Say(message_id=f"m-{number}", text=text)
            await self.core.say(self.id, say, fresh=not self.runs, start=self.start)
            await self.see_run()

    async def see_run(self) -> None:
        """Notes the newest run, so that every one of a chain is recorded."""
        run_id = (await self.client.get_workflow_handle(self.id).describe()).run_id
        if run_id not in self.runs:
            self.runs.append(run_id)

    async def close(self) -> None:
        await self.core.close(self.id, "default")
        await self.see_run()
        await self.client.get_workflow_handle(self.id).result()

    async def say_and_cancel(self, text: str) -> None:
        said = asyncio.create_task(self.say(text))
        await self.steps.running.wait()
        await self.core.cancel_turn(self.id, CancelTurn(reason="the reader left"))
        await said

    async def queued(self, count: int) -> None:
        """Until so many turns are known: done, running or waiting their turn."""
        while len((await self.core.transcript(self.id, "default")).turns) < count:  # noqa: ASYNC110 (a query has no event)
            await asyncio.sleep(0.01)

    async def refused(self, *calls: Awaitable[object]) -> None:
        for call in calls:
            try:
                await call
            except BadInput:
                continue
            raise AssertionError(f"{self.id}: a call was to be refused and was not")


def _said(*texts: str) -> Callable[[Recorder], Awaitable[None]]:
    async def shape(recorder: Recorder) -> None:
        await recorder.say(*texts)
        await recorder.close()

    return shape


def _resolved(decision: str, text: str = "doubtful", **more: str) -> Callable[[Recorder], Awaitable[None]]:
    async def shape(recorder: Recorder) -> None:
        await recorder.say(text)
        message = {"turn": 1, "decision": decision, "by": "ann", **more}
        await recorder.core.resolve_review(recorder.id, ResolveReview.model_validate(message))
        await recorder.say("How long?")
        await recorder.close()

    return shape


async def _human_timed_out(recorder: Recorder) -> None:
    recorder.steps.human_timeout = 0.5
    await recorder.say("doubtful", "How long?")
    await recorder.close()


async def _cancelled(recorder: Recorder) -> None:
    await recorder.say_and_cancel("slow")
    await recorder.close()


async def _cancelled_while_queued(recorder: Recorder) -> None:
    saying = [asyncio.create_task(recorder.say("slow"))]
    await recorder.steps.running.wait()
    saying.append(asyncio.create_task(recorder.say("How long?")))
    await recorder.queued(2)
    cancelling = asyncio.create_task(recorder.core.cancel_turn(recorder.id, CancelTurn(turn=2)))
    handle = recorder.client.get_workflow_handle(recorder.id)
    while "cancel_turn" not in str([event async for event in handle.fetch_history_events()]):  # noqa: ASYNC110 (nor has it)
        await asyncio.sleep(0.01)
    recorder.steps.release.set()
    await asyncio.gather(*saying, cancelling)
    await recorder.close()


async def _cancelled_while_waiting(recorder: Recorder) -> None:
    await recorder.say("doubtful")
    await recorder.core.cancel_turn(recorder.id, CancelTurn(turn=1))
    await recorder.say("How long?")
    await recorder.close()


async def _workflow_cancelled(recorder: Recorder) -> None:
    said = asyncio.create_task(recorder.say("slow"))
    await recorder.steps.running.wait()
    handle = recorder.client.get_workflow_handle(recorder.id)
    await handle.cancel()
    await said
    await asyncio.gather(handle.result(), return_exceptions=True)


async def _continued(recorder: Recorder) -> None:
    recorder.start = {"turns_per_run": 2}
    await recorder.say("How long?", "And in a shop?", "And for gifts?", "How long?")
    await recorder.close()


async def _idle(recorder: Recorder) -> None:
    recorder.start = {"idle_timeout": 1.0}
    await recorder.say("How long?")
    await recorder.client.get_workflow_handle(recorder.id).result()


async def _idle_waits(recorder: Recorder) -> None:
    """The idle time passes while a person is waited for, and once more when that one has come."""
    recorder.start = {"idle_timeout": 1.0}
    await recorder.say("doubtful")
    handle = recorder.client.get_workflow_handle(recorder.id)
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("marker_recorded_event_attributes") and "idle-waits" in str(event):
            break
    await recorder.core.resolve_review(recorder.id, ResolveReview(turn=1, decision="approve", by="ann"))
    await handle.result()


async def _reopened(recorder: Recorder) -> None:
    await recorder.say("How long?")
    await recorder.close()
    await recorder.say("And now?", "How long?")
    await recorder.close()


async def _feedback(recorder: Recorder) -> None:
    await recorder.say("How long?")
    handle = recorder.client.get_workflow_handle(recorder.id)
    await handle.signal("feedback", {"turn": 1, "score": 1, "comment": "good"})
    await recorder.say("And in a shop?")
    await recorder.close()


async def _feedback_unkept(recorder: Recorder) -> None:
    """It comes while a person is waited for, and ended the run before the patch."""
    await recorder.say("doubtful")
    handle = recorder.client.get_workflow_handle(recorder.id)
    await handle.signal("feedback", {"turn": 1, "score": 1, "comment": "unkept"})
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("activity_task_failed_event_attributes"):
            break
    with contextlib.suppress(ParleyFault):
        await recorder.core.resolve_review(recorder.id, ResolveReview(turn=1, decision="approve", by="ann"))
        await recorder.close()


async def _odd_signals(recorder: Recorder) -> None:
    """Too many arguments, none, nonsense, and a name that nobody knows."""
    await recorder.say("How long?")
    handle = recorder.client.get_workflow_handle(recorder.id)
    await handle.signal("feedback", args=[{"turn": 1, "score": 1}, "and more"])
    await handle.signal("feedback")
    await handle.signal("feedback", {"turn": "none"})
    await handle.signal("sing", {})
    await recorder.say("And in a shop?")
    await recorder.close()


async def _refused_updates(recorder: Recorder) -> None:
    """What the validators refuse leaves no event; what happens around it is as ever."""
    core, id_ = recorder.core, recorder.id
    await recorder.say("How long?")
    await recorder.refused(
        core.say(id_, Say(message_id="m1", text="hello", tenant="other")),
        core.resolve_review(id_, ResolveReview(turn=1, decision="approve", by="ann")),
        core.cancel_turn(id_, CancelTurn()),
        core._update(id_, "say", ["no", "object"]),
    )
    await recorder.say("And in a shop?")
    await recorder.close()


async def _refused_after_acceptance(recorder: Recorder) -> None:
    """A reused id of an earlier run is known only when the audit has told: its update was accepted, and fails."""
    await recorder.core.say(recorder.id, Say(message_id="m1", text="How long?"), fresh=True)
    await recorder.close()
    opening: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "ConversationWorkflow",
        {},
        id=recorder.id,
        task_queue=recorder.steps.queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    try:
        await recorder.client.execute_update_with_start_workflow(
            "say", Say(message_id="m1", text="other words"), id="another-id", start_workflow_operation=opening
        )
    except WorkflowUpdateFailedError:
        await recorder.see_run()
        await recorder.close()
    else:
        raise AssertionError("a reused id was not refused")


async def _repeated_in_run(recorder: Recorder) -> None:
    """The same message under another update id, as a client sends it that lets the SDK choose update ids."""
    await recorder.say("How long?")
    handle = recorder.client.get_workflow_handle(recorder.id)
    number = uuid.uuid5(uuid.NAMESPACE_OID, "How long?").hex[:6]
    await handle.execute_update("say", Say(message_id=f"m-{number}", text="How long?"), id="another-id")
    await recorder.close()


async def _dialogue_resolved(recorder: Recorder) -> None:
    await recorder.core.ask(DialogueStart(question="doubtful"), dialogue=recorder.id)
    await recorder.core.resolve_review(recorder.id, ResolveReview(turn=1, decision="approve", by="ann"))
    await recorder.client.get_workflow_handle(recorder.id).result()


async def _dialogue_cancelled(recorder: Recorder) -> None:
    asked = asyncio.create_task(recorder.core.ask(DialogueStart(question="slow"), dialogue=recorder.id))
    await recorder.steps.running.wait()
    await recorder.core.cancel_turn(recorder.id, CancelTurn(reason="the reader left"))
    await asked


async def _out_of_time(recorder: Recorder) -> None:
    """Temporal itself ends the attempts: the first try is silent, the second is answered."""
    recorder.steps.plans["generate_answer"] = StepPlan(
        task_queue=recorder.steps.queue, start_to_close=0.5, retry=RetryPlan(maximum_attempts=1)
    )
    recorder.faults.silent = {"generate_answer": 1}
    await recorder.say("How long?")
    await recorder.close()


async def _tokens_used_up(recorder: Recorder) -> None:
    """The second try of the first turn gets what is left; the other turns have none for a second."""
    recorder.steps.max_turn_tokens = 12
    await recorder.say("bad answer first")
    recorder.steps.max_turn_tokens = 8
    await recorder.say("repeat yourself", "nothing comes")
    await recorder.close()


async def _dialogue(recorder: Recorder) -> None:
    await recorder.core.ask(DialogueStart(question="How long?"), dialogue=recorder.id)


async def _started_by_sdk(recorder: Recorder) -> None:
    """Without attributes of its own, and without a message until it has begun."""
    await recorder.client.start_workflow("ConversationWorkflow", {}, id=recorder.id, task_queue=recorder.steps.queue)
    await recorder.core.transcript(recorder.id, "default")
    await recorder.say("How long?")
    await recorder.close()


async def _started_by_sdk_with_a_message(recorder: Recorder) -> None:
    opening: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        "ConversationWorkflow",
        {},
        id=recorder.id,
        task_queue=recorder.steps.queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    await recorder.client.execute_update_with_start_workflow(
        "say", Say(message_id="m1", text="How long?"), id="m1", start_workflow_operation=opening
    )
    await recorder.close()


async def _started_by_sdk_under_a_taken_id(recorder: Recorder) -> None:
    """Another tenant's conversation had it: the second run is not opened."""
    await recorder.say("How long?")
    await recorder.close()
    handle: WorkflowHandle[object, object] = await recorder.client.start_workflow(
        "ConversationWorkflow", {"tenant": "other"}, id=recorder.id, task_queue=recorder.steps.queue
    )
    await asyncio.gather(handle.result(), return_exceptions=True)


async def _dialogue_started_by_sdk(recorder: Recorder) -> None:
    handle: WorkflowHandle[object, object] = await recorder.client.start_workflow(
        "DialogueWorkflow", {"question": "How long?"}, id=recorder.id, task_queue=recorder.steps.queue
    )
    await handle.result()


async def _dialogue_refused_start(recorder: Recorder) -> None:
    handle: WorkflowHandle[object, object] = await recorder.client.start_workflow(
        "DialogueWorkflow", {"colour": "red"}, id=recorder.id, task_queue=recorder.steps.queue
    )
    await asyncio.gather(handle.result(), return_exceptions=True)


SHAPES: dict[str, Callable[[Recorder], Awaitable[None]]] = {
    "normal": _said("How long?", "And in a shop?"),
    "attempted-again": _said("flaky: how long?"),
    "refused": _said("please refuse this"),
    "template": _said("a greeting", "the weather"),
    "generated-without-knowledge": _said("let us chat"),
    "blocked": _said("block this"),
    "rung-repetition": _said("repeat yourself"),
    "rung-out-of-memory": _said("memory is short"),
    "rung-empty-then-fallback": _said("nothing comes"),
    "rung-language-unknown": _said("退货要多少天？"),
    "rung-failed-review": _said("bad answer first"),
    "rung-quoted-after-review": _said("the worst question"),
    "rung-timed-out": _said("it tires"),
    "rung-timed-out-to-quote": _said("it always tires"),
    "rung-out-of-time": _out_of_time,
    "rung-too-long": _said("it exceeds"),
    "rung-too-long-to-human": _resolved("edit", "it always exceeds", answer="Ask the shop."),
    "rung-unclosed-reasoning": _said("ponder this"),
    "rung-wrong-language": _said("it was misspoken"),
    "rung-engine-lost": _said("an outage"),
    "rung-engine-lost-to-template": _said("always an outage"),
    "rung-tokens-used-up": _tokens_used_up,
    "open-review": _said("open but unreviewed"),
    "review-failed": _said("unreviewed"),
    "failed": _said("corrupt weights", "broken for ever"),
    "human-resolved": _resolved("edit", answer="Ask the shop."),
    "human-approved": _resolved("approve"),
    "human-rejected": _resolved("reject"),
    "human-by-intent": _resolved("reject", "a human, please"),
    "human-timed-out": _human_timed_out,
    "cancelled": _cancelled,
    "cancelled-while-queued": _cancelled_while_queued,
    "cancelled-while-waiting": _cancelled_while_waiting,
    "workflow-cancelled": _workflow_cancelled,
    "continued-as-new": _continued,
    "idle-closed": _idle,
    "reopened": _reopened,
    "feedback": _feedback,
    "odd-signals": _odd_signals,
    "refused-updates": _refused_updates,
    "refused-after-acceptance": _refused_after_acceptance,
    "repeated-in-run": _repeated_in_run,  # recorded before the patch "reply-held"
    "repeated-in-run-held": _repeated_in_run,
    "state": _said("How long?", "And in a shop?"),  # this and the next ones: since the patch "state-shown"
    "state-failed": _said("corrupt weights", "broken for ever", "How long?"),
    "state-human": _resolved("edit", answer="Ask the shop."),
    "state-human-timed-out": _human_timed_out,
    "state-cancelled-while-queued": _cancelled_while_queued,
    "state-cancelled-while-waiting": _cancelled_while_waiting,
    "state-workflow-cancelled": _workflow_cancelled,
    "state-continued-as-new": _continued,
    "state-idle-closed": _idle,
    "idle-waits": _idle_waits,  # since the patch of that name
    "feedback-ended": _feedback_unkept,  # recorded before the patch "feedback-unkept"
    "feedback-unkept": _feedback_unkept,
    "start-shown": _started_by_sdk,  # this and the next ones: since the patch of that name
    "start-shown-with-a-message": _started_by_sdk_with_a_message,
    "start-shown-unopened": _started_by_sdk_under_a_taken_id,
    "start-shown-dialogue": _dialogue_started_by_sdk,
    "state-dialogue-resolved": _dialogue_resolved,
    "state-dialogue-cancelled": _dialogue_cancelled,
    "dialogue": _dialogue,
    "dialogue-resolved": _dialogue_resolved,
    "dialogue-cancelled": _dialogue_cancelled,
    "dialogue-refused-start": _dialogue_refused_start,
}
