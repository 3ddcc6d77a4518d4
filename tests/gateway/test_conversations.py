"""The client core says who did not answer, in bounded time, and never one tenant's words to another."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import uuid
import warnings
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

import pytest
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.workflow import UnfinishedUpdateHandlersWarning

from dialogue.faults import (
    ConversationBusy,
    ConversationClosed,
    KeyMissing,
    MessageIdReused,
    ParleyFault,
    RecordsUnavailable,
    UnknownConversation,
)
from dialogue.messages import CancelTurn, ChatMessage, DialogueStart, ResolveReview, Say, TextFile
from dialogue.steps import RecallConversation
from dialogue.turn import Recalled, Reply
from gateway.conversations import Conversations, Pending, dialogue_id
from tests.gateway.conftest import WEB_UI, Front
from tests.support.scripted_steps import ScriptedSteps, scripted_worker

SECONDS = 20


@pytest.fixture
def unserved(temporal: WorkflowEnvironment) -> Conversations:
    return Conversations(temporal.client, task_queue=f"nobody-{uuid.uuid4().hex[:8]}", web_ui=WEB_UI)


async def test_without_a_worker_saying_ends_in_time(unserved: Conversations) -> None:
    """The message is not accepted, and that is said: sending it again is safe."""
    with pytest.raises(RecordsUnavailable, match=f"no worker of task queue {unserved.task_queue} took the message"):
        await unserved.say("c-" + uuid.uuid4().hex, Say(message_id="m1", text="Hello"), wait_seconds=0.3)


async def test_an_error_that_was_told_is_not_logged_as_forgotten(
    unserved: Conversations, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK keeps each failed call's error in a future of its own as well."""
    with pytest.raises(RecordsUnavailable):
        await unserved.say("c-" + uuid.uuid4().hex, Say(message_id="m1", text="Hello"), wait_seconds=0.3)
    gc.collect()
    assert "never retrieved" not in caplog.text


@dataclass
class _NotRecalling(ScriptedSteps):
    """``fault``: what the audit says when it is asked for earlier turns, until it is ``None``."""

    fault: ApplicationError | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name="recall_conversation")
    async def recall_conversation(self, request: RecallConversation) -> Recalled:
        self.asked.set()
        if self.fault is not None:
            raise self.fault
        return await ScriptedSteps.recall_conversation(self, request)


@pytest.mark.parametrize(
    ("ends", "told", "why"),
    [
        ("by itself", KeyMissing, "its key is gone"),
        ("cancelled", ConversationClosed, "its run was cancelled before"),
        ("terminated", ConversationClosed, "its run was terminated before"),
    ],
)
async def test_a_message_that_ends_with_its_run_is_told_why(
    temporal: WorkflowEnvironment, ends: str, told: type[ParleyFault], why: str
) -> None:
    """It was accepted before the conversation was open. Sent again with its id, it is answered by a new run."""
    steps = _NotRecalling(f"opens-{uuid.uuid4().hex[:8]}")
    by_itself = ends == "by itself"
    steps.fault = ApplicationError("its key is gone", type="key-missing", non_retryable=by_itself)
    conversations = Conversations(temporal.client, task_queue=steps.queue, web_ui=WEB_UI)
    conversation, message = "c-" + uuid.uuid4().hex, Say(message_id="m1", text="How long?")
    handle = temporal.client.get_workflow_handle(conversation)
    with warnings.catch_warnings(action="ignore", category=UnfinishedUpdateHandlersWarning):
        async with scripted_worker(temporal.client, steps):
            said = asyncio.create_task(conversations.say(conversation, message))
            await asyncio.wait_for(steps.asked.wait(), SECONDS)
            if not by_itself:
                await (handle.cancel() if ends == "cancelled" else handle.terminate())
            with pytest.raises(told, match=why):
                await asyncio.wait_for(said, SECONDS)
            with pytest.raises(told, match=why):
                await asyncio.wait_for(conversations.settled(conversation, "m1", "default"), SECONDS)
            steps.fault = None
            again = await conversations.say(conversation, message)
    assert isinstance(again, Reply)
    assert (again.turn, again.verdict) == (1, "pass")


async def test_without_a_worker_a_question_is_kept(unserved: Conversations) -> None:
    """Temporal has it, so it is pending; asked again it is the same one."""
    question = DialogueStart(question="How long?", message_id="m1")
    name = dialogue_id("default", uuid.uuid4().hex, "m1")
    first = await unserved.ask(question, dialogue=name, wait_seconds=0.2)
    second = await unserved.ask(question, dialogue=name, wait_seconds=0.2)
    assert isinstance(first, Pending)
    assert isinstance(second, Pending)
    assert first.run_id == second.run_id is not None


async def test_a_question_with_another_history_is_another(front: Front) -> None:
    """The same message id with other earlier messages is refused: its answer would not be this one's."""
    name = dialogue_id("default", "ann", uuid.uuid4().hex)
    hello = ChatMessage(role="user", content="Hello")
    last = ChatMessage(role="user", content="How long?")
    await front.conversations.ask(DialogueStart(messages=(last,)), dialogue=name)
    with pytest.raises(MessageIdReused, match="used for another text"):
        await front.conversations.ask(DialogueStart(messages=(hello, last)), dialogue=name)


async def test_a_question_with_another_file_is_another(front: Front) -> None:
    """An id stands for text and files; one that was asked before questions brought any is still known."""
    name = dialogue_id("default", "ann", uuid.uuid4().hex)
    first, other = (DialogueStart(question="How long?", files=(TextFile(name="a", text=text),)) for text in "xy")
    await front.conversations.ask(first, dialogue=name)
    for question in (other, first.model_copy(update={"files": ()})):
        with pytest.raises(MessageIdReused, match="used for another text"):
            await front.conversations.ask(question, dialogue=name)
    assert (await front.conversations.ask(first, dialogue=name)).state == "done"
    bare = dialogue_id("default", "ann", uuid.uuid4().hex)
    await front.conversations.ask(DialogueStart(question="How long?"), dialogue=bare)
    memo = await (await front.client.get_workflow_handle(bare).describe()).memo()
    assert memo == {"question": hashlib.sha256(b'{"question":"How long?","messages":[]}').hexdigest()}


async def test_many_wait_for_one_question(front: Front) -> None:
    """They share one update, of which a server lets so many be under way; and it can be cancelled all the while."""
    name = dialogue_id("default", "ann", uuid.uuid4().hex)
    question = DialogueStart(question="slow", message_id="m-1", user="ann")
    asking = [front.conversations.ask(question, dialogue=name, wait_seconds=1) for _ in range(15)]
    assert {type(told) for told in await asyncio.gather(*asking)} == {Pending}
    settled = asyncio.create_task(front.conversations.settled(name, "m-1", "default"))
    assert await asyncio.wait_for(front.conversations.cancel_turn(name, CancelTurn()), SECONDS) == 1
    assert (await settled).verdict == "cancelled"
    assert await _updates(front, name) == ["answer:default", ANY]


async def test_who_waits_for_a_person_hears_of_the_decision(front: Front) -> None:
    """The update that all share tells for ever that a person has to decide."""
    name = dialogue_id("default", "ann", uuid.uuid4().hex)
    question = DialogueStart(question="doubtful", message_id="m-1", user="ann")
    for _ in range(2):
        assert (await front.conversations.ask(question, dialogue=name)).state == "waiting"
    decision = ResolveReview(turn=1, decision="edit", answer="Thirty days.", by="bob")
    deciding = asyncio.create_task(front.conversations.resolve_review(name, decision))
    while (reply := await front.conversations.ask(question, dialogue=name)).state == "waiting":
        pass
    assert (reply.state, reply.answer) == ("done", "Thirty days.")
    await deciding


async def test_more_messages_wait_than_a_server_allows_of_itself(front: Front) -> None:
    """As many as the tenant's bound says; beyond it the conversation refuses, not the server, and a turn that runs can
    be cancelled."""
    conversation, start = front.new(), {"pending": 12}
    said = [
        front.conversations.say(
            conversation, Say(message_id=f"m-{n}", text="slow"), fresh=True, start=start, wait_seconds=1
        )
        for n in range(12)
    ]
    assert {type(told) for told in await asyncio.gather(*said)} == {Pending}
    with pytest.raises(ConversationBusy, match="12 messages wait already"):
        await front.conversations.say(conversation, Say(message_id="m-12", text="slow"), start=start)
    assert await asyncio.wait_for(front.conversations.cancel_turn(conversation, CancelTurn()), SECONDS) == 1
    front.steps.release.set()


async def _updates(front: Front, workflow_id: str) -> list[str]:
    """The ids of those that it accepted."""
    history = await front.client.get_workflow_handle(workflow_id).fetch_history()
    accepted = [event.workflow_execution_update_accepted_event_attributes for event in history.events]
    return [each.accepted_request.meta.update_id for each in accepted if each.protocol_instance_id]


def test_a_dialogue_belongs_to_its_tenant_and_user() -> None:
    """Neither shares an id, also where the three parts run together to the same letters."""
    names = {dialogue_id(*parts) for parts in (("a", "b", "c"), ("a", "bc", ""), ("ab", "", "c"), ("a", "b", "d"))}
    assert len(names) == 4
    assert all(name.startswith("dlg-") and len(name) == 36 for name in names)


@workflow.defn(name="SomethingElse", sandboxed=False)
class SomethingElse:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


async def test_another_workflow_is_an_unknown_conversation(front: Front) -> None:
    """Whether it runs or not, for reading as for cancelling: what else the namespace holds is nobody's business."""
    queue = f"other-{uuid.uuid4().hex[:8]}"
    async with Worker(front.client, task_queue=queue, workflows=[SomethingElse]):
        handle = await front.client.start_workflow("SomethingElse", id=queue, task_queue=queue)
        with pytest.raises(UnknownConversation):
            await front.conversations.transcript(handle.id, "default")
        with pytest.raises(UnknownConversation):
            await front.conversations.cancel_turn(handle.id, CancelTurn())
        await handle.terminate()
        with pytest.raises(UnknownConversation):
            await front.conversations.cancel_turn(handle.id, CancelTurn())


class _Failing:
    """A client all of whose calls fail with one status."""

    namespace = "default"

    def __init__(self, status: RPCStatusCode) -> None:
        self.status = status

    async def start_workflow(self, *_: Any, **__: Any) -> Any:
        raise RPCError("told by the server", self.status, b"")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (RPCStatusCode.UNAVAILABLE, "Is the server running?"),
        (RPCStatusCode.DEADLINE_EXCEEDED, "no worker answered in time"),
        (RPCStatusCode.FAILED_PRECONDITION, "no worker answered in time"),
    ],
)
async def test_temporals_failures_are_told_apart(status: RPCStatusCode, told: str) -> None:
    """A server that is away and a worker that is away have different ways out."""
    conversations = Conversations(_Failing(status), task_queue="q", web_ui=WEB_UI)  # type: ignore[arg-type]
    with pytest.raises(RecordsUnavailable, match=told):
        await conversations.ask(DialogueStart(question="How long?"))


async def test_a_call_that_temporal_refuses_is_our_fault() -> None:
    """It is no 503: sending it again would not help."""
    conversations = Conversations(_Failing(RPCStatusCode.INVALID_ARGUMENT), task_queue="q", web_ui=WEB_UI)  # type: ignore[arg-type]
    with pytest.raises(ParleyFault) as refused:
        await conversations.ask(DialogueStart(question="How long?"))
    assert refused.value.status == 500
