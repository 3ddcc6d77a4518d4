"""Malformed, huge and foreign payloads: that call alone fails, with its reason, and the conversation goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator

import pytest
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from dialogue.messages import MAX_MESSAGE_CHARACTERS
from tests.faults.payloads.conftest import Scene
from tests.faults.payloads.nonsense import MALFORMED, json_payload, several

GOOD: dict[str, object] = {
    "ConversationWorkflow": {"tenant": "default"},
    "DialogueWorkflow": {"question": "How long?"},
    "say": {"message_id": "m1", "text": "How long?"},
    "cancel_turn": {"turn": 1},
    "resolve_review": {"turn": 1, "decision": "approve", "by": "ann"},
    "close": {"tenant": "default"},
    "answer": {"tenant": "default"},
    "feedback": {"turn": 1, "score": 1},
    "transcript": {"tenant": "default"},
    "reply": {"turn": 1},
}
REFUSED = ("invalid-request", "message-too-long")


def _calls(name: str) -> Iterator[tuple[str, list[Payload]]]:
    for what, payload in MALFORMED.items():
        yield what, [payload]
    yield from several(json_payload(GOOD[name])).items()


def _wrong(outcome: Failure | Payloads) -> str:
    """Empty where the update failed as it must: one plain line of a known type."""
    if isinstance(outcome, Failure):
        return _wrong_reason(outcome.application_failure_info.type, outcome.message)
    return f"succeeded with {outcome}"


def _wrong_reason(type_: str, message: str) -> str:
    plain = message.isprintable() and 10 < len(message) < 1000
    return "" if plain and type_ in REFUSED else f"{type_}: {message[:300]!r}"


async def _refused_by(send: Callable[..., Awaitable[Failure | Payloads]], name: str) -> dict[str, str]:
    """What of ``_calls`` was not refused as it must be."""
    found = {what: _wrong(await asyncio.wait_for(send(*payloads), 20)) for what, payloads in _calls(name)}
    return {what: wrong for what, wrong in found.items() if wrong}


@pytest.mark.parametrize("name", ["say", "cancel_turn", "resolve_review", "close"])
async def test_an_update_of_a_conversation_that_makes_no_sense_is_refused(scene: Scene, name: str) -> None:
    """With its reason and without an event; afterwards the conversation answers as before."""
    conversation = await scene.conversation()
    before = (await scene.client.get_workflow_handle(conversation).describe()).history_length
    assert await _refused_by(lambda *payloads: scene.raw.update(conversation, name, *payloads), name) == {}
    assert (await scene.client.get_workflow_handle(conversation).describe()).history_length == before
    await scene.answers(conversation)
    await scene.assert_no_task_was_lost(conversation)


@pytest.mark.parametrize("name", ["answer", "cancel_turn", "resolve_review"])
async def test_an_update_of_a_dialogue_that_makes_no_sense_is_refused(scene: Scene, name: str) -> None:
    """The question that runs meanwhile is answered."""
    dialogue = await scene.dialogue("slow")
    await asyncio.wait_for(scene.steps.running.wait(), 10)
    assert await _refused_by(lambda *payloads: scene.raw.update(dialogue, name, *payloads), name) == {}
    scene.steps.release.set()
    assert (await scene.client.get_workflow_handle(dialogue).result())["verdict"] == "pass"
    await scene.assert_no_task_was_lost(dialogue)


@pytest.mark.parametrize("workflow", ["ConversationWorkflow", "DialogueWorkflow"])
@pytest.mark.parametrize("name", ["transcript", "reply"])
async def test_a_query_that_makes_no_sense_fails(scene: Scene, workflow: str, name: str) -> None:
    """With the reason, and the workflow is as it was."""
    if workflow == "ConversationWorkflow":
        id_ = await scene.conversation()
    else:
        id_ = await scene.dialogue("slow")
        await asyncio.wait_for(scene.steps.running.wait(), 10)
    wrong: dict[str, str] = {}
    for what, payloads in _calls(name):
        with pytest.raises(RPCError) as failure:
            await asyncio.wait_for(scene.raw.query(id_, name, *payloads), 20)
        assert failure.value.status is RPCStatusCode.INVALID_ARGUMENT, what
        wrong[what] = _wrong_reason("invalid-request", failure.value.message)
    assert {what: why for what, why in wrong.items() if why} == {}
    scene.steps.release.set()
    assert (await scene.raw.query(id_, name, json_payload(GOOD[name]))).payloads
    await scene.assert_no_task_was_lost(id_)


async def test_a_signal_that_makes_no_sense_is_ignored(scene: Scene) -> None:
    """With a line in the log; the feedback before and after it is kept."""
    conversation = await scene.conversation()
    await scene.raw.signal(conversation, "feedback", json_payload({"turn": 1, "score": -1}))
    sent = [*_calls("feedback"), ("no payload", [])]
    for _, payloads in sent:
        await scene.raw.signal(conversation, "feedback", *payloads)
        await scene.conversations.transcript(conversation, "default")  # a query sees what came before it
    await scene.raw.signal(conversation, "feedback", json_payload({"turn": 1, "score": 1}))
    await scene.answers(conversation)
    assert [message.score for _, message in scene.steps.feedback] == [-1, 1]
    told = [text for record in scene.log.records if "feedback ignored" in (text := record.getMessage())]
    assert len(told) == len(sent)
    await scene.assert_no_task_was_lost(conversation)


# The collector may find a run of the SDK's that was put away half-way; what it then says is the SDK's own.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <coroutine object _WorkflowInstanceImpl:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("workflow", ["ConversationWorkflow", "DialogueWorkflow"])
async def test_a_start_that_makes_no_sense_fails_once(scene: Scene, workflow: str) -> None:
    """The run ends failed, with its reason, and nothing was done for it."""
    sent = [*_calls(workflow), ("carried by nobody", [json_payload({"carried": {"turns": 1}})])]
    runs = {what: (f"foreign-{uuid.uuid4().hex[:12]}", payloads) for what, payloads in sent}
    wrong: dict[str, str] = {}
    for what, (id_, payloads) in runs.items():
        await scene.raw.start(workflow, id_, *payloads)
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(scene.client.get_workflow_handle(id_).result(), 20)
        cause = failure.value.cause
        assert isinstance(cause, ApplicationError), what
        wrong[what] = _wrong_reason(cause.type or "", cause.message)
        await scene.assert_no_task_was_lost(id_)
    assert {what: why for what, why in wrong.items() if why} == {}
    assert scene.steps.calls == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "message_id: Field required; text: Field required"),
        ({"text": "hi"}, "message_id: Field required"),
        ({"message_id": "m1", "text": ""}, "text: String should have at least 1 character"),
        ({"message_id": "m1", "text": 5}, "text: Input should be a valid string"),
        ({"message_id": "m1", "text": ["hi"]}, "text: Input should be a valid string"),
        ({"message_id": "m1", "text": None}, "text: Input should be a valid string"),
        ({"message_id": "", "text": "hi"}, "message_id: String should have at least 1 character"),
        ({"message_id": "x" * 1000, "text": "hi"}, "message_id: String should have at most 128 characters"),
        ({"message_id": "m 1", "text": "hi"}, "message_id: String should match pattern"),
        ({"message_id": "m1", "text": "hi", "colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"message_id": "m1", "text": "hi", "temperature": 9}, "temperature: Input should be less than or equal to 2"),
        (
            {"message_id": "m1", "text": "hi", "temperature": float("nan")},
            "temperature: Input should be a finite number",
        ),
        ({"message_id": "m1", "text": "hi", "seed": float("inf")}, "seed: Input should be a finite number"),
        ({"message_id": "m1", "text": "hi", "seed": 10**999}, "seed: Input should be less than or equal to"),
        ({"message_id": "m1", "text": "hi", "seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"message_id": "m1", "text": "hi", "seed": "1.5"}, "seed: Input should be a valid integer"),
        ({"message_id": "m1", "text": "\ud800"}, "Say: Invalid JSON"),
    ],
)
async def test_the_reason_names_the_field(scene: Scene, fields: dict[str, object], reason: str) -> None:
    """A business service's developer reads in the refusal what to change."""
    conversation = await scene.conversation()
    outcome = await scene.raw.update(conversation, "say", json_payload(fields))
    assert isinstance(outcome, Failure)
    assert outcome.application_failure_info.type == "invalid-request"
    assert outcome.message.startswith(reason)
    await scene.answers(conversation)


async def test_an_integer_that_must_not_be_rounded_is_not(scene: Scene) -> None:
    """A seed of 53 bits reaches the model's step as it was sent."""
    conversation = await scene.conversation()
    fields = {"message_id": "m1", "text": "How long?", "seed": 2**53}
    assert not isinstance(await scene.raw.update(conversation, "say", json_payload(fields)), Failure)
    assert scene.steps.called("receive_input")[-1].seed == 2**53


@pytest.mark.parametrize("characters", [MAX_MESSAGE_CHARACTERS + 1, 1_900_000])
async def test_a_message_that_is_too_long_is_refused_before_it_is_accepted(scene: Scene, characters: int) -> None:
    """It leaves no event, no row and no trace in the transcript."""
    conversation = await scene.conversation()
    say = json_payload({"message_id": "long", "text": "x" * characters})
    outcome = await scene.raw.update(conversation, "say", say)
    assert isinstance(outcome, Failure)
    assert outcome.application_failure_info.type == "message-too-long"
    await scene.answers(conversation)
    assert [turn for _, turn in scene.steps.rows] == [1, 2]
    assert sum(event.ByteSize() for run in await scene.runs(conversation) for event in run) < 100_000
    await scene.assert_no_task_was_lost(conversation)


async def test_a_text_with_nul_is_answered(scene: Scene) -> None:
    """It is text in JSON, whatever a database thinks of it; the first step takes it out."""
    conversation = await scene.conversation()
    say = json_payload({"message_id": "m1", "text": "How\0 long?"})
    assert not isinstance(await scene.raw.update(conversation, "say", say), Failure)
    assert scene.steps.called("receive_input")[-1].text == "How\0 long?"
