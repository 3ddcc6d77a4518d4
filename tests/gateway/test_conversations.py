"""The client core says who did not answer, in bounded time, and never one tenant's words to another."""

from __future__ import annotations

import gc
import uuid
from typing import Any

import pytest
from temporalio import workflow
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from dialogue.faults import MessageIdReused, ParleyFault, RecordsUnavailable, UnknownConversation
from dialogue.messages import CancelTurn, ChatMessage, DialogueStart, Say
from gateway.conversations import Conversations, Pending, dialogue_id
from tests.gateway.conftest import WEB_UI, Front


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
