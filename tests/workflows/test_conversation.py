"""A conversation answers each message once, in order, also when it is repeated, cancelled, or continued as new."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowExecutionStatus

from dialogue.faults import (
    ConversationBusy,
    ConversationClosed,
    InvalidRequest,
    MessageIdReused,
    NoSuchReview,
    NothingToCancel,
    UnknownConversation,
)
from dialogue.messages import CancelTurn, DialogueStart, ResolveReview, Say
from dialogue.steps import ReturnAnswer, ReturnedAnswer
from gateway.conversations import Conversations, Pending
from tests.support.accepted_update import accepted_update
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from tests.workflows.conftest import Site


async def test_a_message_sent_twice_at_once_is_one_turn(site: Site) -> None:
    """Both calls get the same reply, and there is one row."""
    conversation = site.new()
    first, second = await asyncio.gather(
        site.say(conversation, "How long?", "m1"), site.say(conversation, "How long?", "m1")
    )
    assert first == second
    assert list(site.steps.rows) == [(conversation, 1)]


async def test_the_same_id_with_another_text_is_refused(site: Site) -> None:
    """Nothing of the first message is lost, and the second is told why."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m1")
    with pytest.raises(MessageIdReused, match="m1 was used for another text"):
        await site.say(conversation, "Something else", "m1")
    assert len(site.steps.rows) == 1


async def test_messages_are_answered_one_at_a_time_in_order(site: Site) -> None:
    """A second message waits for the first; the turns are numbered as they came."""
    conversation = site.new()
    first = asyncio.create_task(site.say(conversation, "slow one", "m1"))
    await asyncio.wait_for(site.steps.running.wait(), 10)
    second = asyncio.create_task(site.say(conversation, "How long?", "m2"))
    await _until_queued(site, conversation, 2)
    assert not second.done()
    assert len(site.steps.called("receive_input")) == 1
    site.steps.release.set()
    replies = await asyncio.gather(first, second)
    assert [reply.turn for reply in replies] == [1, 2]


async def _until_queued(site: Site, conversation: str, count: int) -> None:
    for _ in range(500):
        transcript = await site.conversations.transcript(conversation, "default")
        if len(transcript.turns) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never {count} messages")


async def test_beyond_its_bound_a_message_is_refused(site: Site) -> None:
    """The refusal says how many wait; those that wait are answered."""
    conversation = site.new()
    start = {"pending": 2}
    waiting = [asyncio.create_task(site.say(conversation, "slow", "m1", start=start))]
    await asyncio.wait_for(site.steps.running.wait(), 10)
    waiting.append(asyncio.create_task(site.say(conversation, "How long?", "m2", start=start)))
    await _until_queued(site, conversation, 2)
    with pytest.raises(ConversationBusy, match="2 messages wait already"):
        await site.say(conversation, "One more", "m3", start=start)
    site.steps.release.set()
    assert [reply.turn for reply in await asyncio.gather(*waiting)] == [1, 2]


async def test_another_tenant_is_told_nothing(site: Site) -> None:
    """Say, cancel, resolve and transcript of a foreign tenant get the words for an unknown conversation."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m1")
    core = site.conversations
    calls = [
        core.say(conversation, Say(message_id="x", text="hello", tenant="other")),
        core.cancel_turn(conversation, CancelTurn(tenant="other")),
        core.resolve_review(conversation, ResolveReview(turn=1, decision="approve", by="eve", tenant="other")),
        core.close(conversation, "other"),
        core.transcript(conversation, "other"),
        core.transcript("conv-unknown", "default"),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UnknownConversation] * len(calls)
    assert all("belongs to no tenant you may read" in str(outcome) for outcome in outcomes)


async def test_continue_as_new_keeps_transcript_order_and_idempotency(site: Site) -> None:
    """Forced every three turns: numbers go on, a repeated id of an older run gets its first reply, history is kept."""
    conversation = site.new()
    start = {"turns_per_run": 3}
    replies = [await site.say(conversation, f"How long, {n}?", f"m{n}", start=start) for n in range(1, 9)]
    assert [reply.turn for reply in replies] == list(range(1, 9))
    assert len({reply.run_id for reply in replies}) == 3
    again = await site.say(conversation, "How long, 2?", "m2", start=start)
    assert (again.turn, again.answer) == (2, replies[1].answer)
    with pytest.raises(MessageIdReused):
        await site.say(conversation, "Other words", "m2", start=start)
    transcript = await site.conversations.transcript(conversation, "default")
    assert [turn.question for turn in transcript.turns] == [f"How long, {n}?" for n in range(1, 9)]
    assert len(site.steps.rows) == 8
    assert site.steps.called("generate_answer")[-1].history[0].content == "How long, 2?"


async def test_many_at_once_through_continue_as_new(site: Site) -> None:
    """Eight callers at once, continued as new every three turns: each message has its own turn, none is lost."""
    conversation = site.new()
    start = {"turns_per_run": 3, "pending": 100}
    replies = await asyncio.gather(
        *(site.say(conversation, f"How long, {n}?", f"m{n}", start=start) for n in range(16))
    )
    assert sorted(reply.turn for reply in replies) == list(range(1, 17))
    assert len(site.steps.rows) == 16


async def test_a_running_turn_can_be_cancelled(site: Site) -> None:
    """The turn ends with the verdict cancelled, its row says who did it, and the next message is answered."""
    conversation = site.new()
    said = asyncio.create_task(site.say(conversation, "slow", "m1"))
    await asyncio.wait_for(site.steps.running.wait(), 10)
    assert await site.conversations.cancel_turn(conversation, CancelTurn(reason="the reader left")) == 1
    reply = await said
    assert (reply.verdict, reply.answer) == ("cancelled", "(cancelled)")
    assert site.steps.rows[conversation, 1].note == "the reader left"
    with pytest.raises(NothingToCancel):
        await site.conversations.cancel_turn(conversation, CancelTurn())
    site.steps.release.set()
    assert (await site.say(conversation, "How long?")).verdict == "pass"


async def test_a_waiting_message_can_be_cancelled(site: Site) -> None:
    """It is never started, and leaves its row."""
    conversation = site.new()
    first = asyncio.create_task(site.say(conversation, "slow", "m1"))
    await asyncio.wait_for(site.steps.running.wait(), 10)
    second = asyncio.create_task(site.say(conversation, "How long?", "m2"))
    await _until_queued(site, conversation, 2)
    cancel = asyncio.create_task(site.conversations.cancel_turn(conversation, CancelTurn(turn=2)))
    await accepted_update(site.client, conversation, "cancel_turn")
    site.steps.release.set()
    await asyncio.gather(first, cancel)
    assert (await second).verdict == "cancelled"
    assert len(site.steps.called("receive_input")) == 1
    assert site.steps.rows[conversation, 2].verdict == "cancelled"


async def test_a_cancelled_workflow_still_answers_and_records(site: Site) -> None:
    """Temporal's own cancel leaves a row and a reply for what ran and for what waited."""
    conversation = site.new()
    first = asyncio.create_task(site.say(conversation, "slow", "m1"))
    await asyncio.wait_for(site.steps.running.wait(), 10)
    second = asyncio.create_task(site.say(conversation, "How long?", "m2"))
    await _until_queued(site, conversation, 2)
    handle = site.client.get_workflow_handle(conversation)
    await handle.cancel()
    assert [reply.verdict for reply in await asyncio.gather(first, second)] == ["cancelled", "cancelled"]
    assert {key[1]: row.verdict for key, row in site.steps.rows.items()} == {1: "cancelled", 2: "cancelled"}
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_a_cancelled_workflow_accepts_no_more(site: Site) -> None:
    """What is said while its last turn is recorded is refused, and keeps the run from nothing."""
    steps = _HeldBack(f"{site.steps.queue}-held")
    conversations = Conversations(site.client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233")
    conversation = site.new()
    async with scripted_worker(site.client, steps):
        said = conversations.say(conversation, Say(message_id="m1", text="slow"), fresh=True)
        first = asyncio.create_task(said)
        await asyncio.wait_for(steps.running.wait(), 10)
        handle = site.client.get_workflow_handle(conversation)
        await handle.cancel()
        await asyncio.wait_for(steps.returning.wait(), 10)
        with pytest.raises(ConversationClosed):
            await conversations.say(conversation, Say(message_id="m2", text="How long?"), wait_seconds=5)
        steps.returned.set()
        assert (await first).verdict == "cancelled"
        await asyncio.gather(handle.result(), return_exceptions=True)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert list(steps.rows) == [(conversation, 1)]


@dataclass
class _HeldBack(ScriptedSteps):
    """Its last step waits."""

    returning: asyncio.Event = field(default_factory=asyncio.Event)
    returned: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name="return_answer")
    async def return_answer(self, request: ReturnAnswer) -> ReturnedAnswer:
        self.returning.set()
        await self.returned.wait()
        return await ScriptedSteps.return_answer(self, request)


async def test_a_person_resolves_a_turn(site: Site) -> None:
    """The first reply says that it waits; later messages wait behind it; the person's words are the answer."""
    conversation = site.new()
    first = await site.say(conversation, "doubtful", "m1")
    assert (first.state, first.verdict, first.answer) == ("waiting", "human", "(waiting)")
    assert (await site.conversations.transcript(conversation, "default")).waiting == (1,)
    second = asyncio.create_task(site.say(conversation, "How long?", "m2"))
    await _until_queued(site, conversation, 2)
    with pytest.raises(NoSuchReview):
        await site.conversations.resolve_review(conversation, ResolveReview(turn=2, decision="approve", by="ann"))
    decision = ResolveReview(turn=1, decision="edit", answer="Ask the shop.", by="ann")
    await site.conversations.resolve_review(conversation, decision)
    assert (await second).turn == 2
    row = site.steps.rows[conversation, 1]
    assert (row.answer, row.verdict) == ("Ask the shop.", "human")
    assert "edit by ann" in row.note
    again = await site.say(conversation, "doubtful", "m1")
    assert (again.state, again.answer) == ("done", "Ask the shop.")


@pytest.mark.parametrize(("decision", "answer"), [("approve", "You have 30 days [1]. (0)"), ("reject", "(fallback)")])
async def test_a_draft_is_approved_or_rejected(site: Site, decision: str, answer: str) -> None:
    """Approved, the draft itself is sent; rejected, the fallback text."""
    conversation = site.new()
    await site.say(conversation, "doubtful", "m1")
    message = ResolveReview.model_validate({"turn": 1, "decision": decision, "by": "ann"})
    await site.conversations.resolve_review(conversation, message)
    assert site.steps.rows[conversation, 1].answer == answer


async def test_a_closed_conversation_goes_on_where_it_was(site: Site) -> None:
    """After a close, the next message opens it again: the audit tells what was said and which ids were used."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m1")
    assert await site.conversations.close(conversation, "default") == 1
    handle = site.client.get_workflow_handle(conversation)
    assert (await handle.result())["reason"] == "closed"
    reply = await site.conversations.say(conversation, Say(message_id="m2", text="And now?"))
    assert not isinstance(reply, Pending)
    assert reply.turn == 2
    again = await site.conversations.say(conversation, Say(message_id="m1", text="How long?"))
    assert not isinstance(again, Pending)
    assert again.turn == 1
    assert len(site.steps.rows) == 2


async def test_feedback_is_kept_with_its_turn(site: Site) -> None:
    """A signal reaches the records; nonsense in it is ignored and harms nothing."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m1")
    handle = site.client.get_workflow_handle(conversation)
    await handle.signal("feedback", {"turn": "none"})
    await handle.signal("feedback", {"turn": 1, "score": 1, "comment": "good"})
    await site.say(conversation, "How long?", "m2")
    assert [(name, message.turn, message.score) for name, message in site.steps.feedback] == [(conversation, 1, 1)]


async def test_feedback_that_cannot_be_kept_is_all_that_is_lost(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so without its words; the turn that waits is decided and recorded, and the conversation goes on."""
    conversation = site.new()
    await site.say(conversation, "doubtful", "m1")
    handle = site.client.get_workflow_handle(conversation)
    await handle.signal("feedback", {"turn": 1, "score": 1, "comment": "unkept"})
    async with asyncio.timeout(10):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                break
    await site.conversations.resolve_review(conversation, ResolveReview(turn=1, decision="approve", by="ann"))
    assert (await site.say(conversation, "How long?", "m2")).turn == 2
    assert list(site.steps.rows) == [(conversation, 1), (conversation, 2)]
    (told,) = [line.getMessage() for line in caplog.records if line.name == "temporalio.workflow"]
    assert told.startswith("feedback of turn 1 is not kept: key-missing")


async def test_what_search_and_the_web_ui_show(site: Site) -> None:
    """Search attributes gather what the run has seen; the details hold a line a turn."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m1")
    await site.say(conversation, "please refuse", "m2")
    handle = site.client.get_workflow_handle(conversation)
    found = (await handle.describe()).search_attributes
    assert found["Tenant"] == ["default"]
    assert sorted(found["Verdict"]) == ["pass", "refused"]
    assert found["Model"] == ["scripted@dddddddddddd"]
    assert found["Snapshot"] == ["5" * 64]
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert "| 1 | How long? | return_item 0.90 | pass |" in metadata.current_details
    assert f"`parley replay show {conversation} --turn 2`" in metadata.current_details


@pytest.mark.parametrize(
    "payload",
    [
        {"message_id": "m1"},
        {"message_id": "m1", "text": ""},
        {"message_id": "m1", "text": "hi", "colour": "red"},
        {"message_id": "m1", "text": "hi", "temperature": 9},
        ["not", "an", "object"],
        "words",
        None,
        17,
    ],
)
async def test_a_nonsense_message_fails_that_call_alone(site: Site, payload: object) -> None:
    """The call is refused with the field's name; no event is left and the conversation goes on."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m0")
    with pytest.raises(InvalidRequest):
        await site.conversations._update(conversation, "say", payload)
    assert (await site.say(conversation, "How long?", "m9")).turn == 2


async def test_a_nonsense_start_fails_that_run_with_its_reason(site: Site) -> None:
    """A DialogueWorkflow started by hand with wrong fields ends failed, named, and is not retried for ever."""
    from temporalio.client import WorkflowFailureError

    for payload in ({}, {"question": "a", "messages": [{"role": "user", "content": "b"}]}, {"question": 5}, "text"):
        handle = await site.client.start_workflow(
            "DialogueWorkflow", payload, id=site.new(), task_queue=site.steps.queue
        )
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        assert getattr(failure.value.cause, "type", "") == "invalid-request"


async def test_a_dialogue_answers_one_question(site: Site) -> None:
    """Question or messages in, a reply out; earlier messages are the history of the prompt."""
    reply = await site.conversations.ask(DialogueStart(question="How long?"))
    assert (reply.turn, reply.verdict) == (1, "pass")
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "How long?"},
    ]
    await site.conversations.ask(DialogueStart.model_validate({"messages": messages}))
    assert [message.content for message in site.steps.called("generate_answer")[-1].history] == ["Hi", "Hello"]


async def test_a_person_resolves_a_dialogue(site: Site) -> None:
    """A one-shot that waits for a person says so at once, and is resolved by the same update."""
    first = await site.conversations.ask(DialogueStart(question="doubtful"), dialogue="dlg-doubtful")
    assert (first.state, first.answer) == ("waiting", "(waiting)")
    decision = ResolveReview(turn=1, decision="approve", by="ann")
    await site.conversations.resolve_review("dlg-doubtful", decision)
    again = await site.conversations.ask(DialogueStart(question="doubtful"), dialogue="dlg-doubtful")
    assert (again.state, again.answer) == ("done", "You have 30 days [1]. (0)")


async def test_a_dialogue_can_be_cancelled(site: Site) -> None:
    """Its reply says so, its row too, and another tenant cannot."""
    asked = asyncio.create_task(site.conversations.ask(DialogueStart(question="slow"), dialogue="dlg-slow"))
    await asyncio.wait_for(site.steps.running.wait(), 10)
    with pytest.raises(UnknownConversation):
        await site.conversations.cancel_turn("dlg-slow", CancelTurn(tenant="other"))
    await site.conversations.cancel_turn("dlg-slow", CancelTurn(reason="the reader left"))
    assert (await asked).verdict == "cancelled"
    assert site.steps.rows["dlg-slow", 1].note == "the reader left"


def test_trace_urls_point_at_the_web_ui(site: Site) -> None:
    """The link holds namespace, workflow and run."""
    core: Conversations = site.conversations
    assert core.trace_url("conv-1", "r") == "http://127.0.0.1:8233/namespaces/default/workflows/conv-1/r"
