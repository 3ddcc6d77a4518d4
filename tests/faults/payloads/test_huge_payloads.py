"""What is huge, badly named or too much at once is refused, and the conversation stays small."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from dialogue.faults import InvalidRequest, MessageIdReused, MessageTooLong, ParleyFault, UnknownConversation
from dialogue.messages import MAX_MESSAGE_CHARACTERS, ChatMessage, DialogueStart, Say
from dialogue.turn import MAX_CARRIED_BYTES
from tests.faults.payloads.conftest import Scene
from tests.faults.payloads.nonsense import MALFORMED, json_payload
from workflows.names import DIALOGUE_WORKFLOW

LIMIT_OF_TEMPORAL = 2 * 1024 * 1024
LIMIT_OF_GRPC = 4 * 1024 * 1024


@pytest.mark.parametrize("size", [LIMIT_OF_TEMPORAL + 1, LIMIT_OF_GRPC - 2000, LIMIT_OF_GRPC - 300, LIMIT_OF_GRPC + 1])
async def test_a_payload_beyond_the_servers_limit_is_refused_by_the_server(scene: Scene, size: int) -> None:
    """Start, update, signal and query alike, each with a reason; the workflow never hears of them."""
    conversation = await scene.conversation()
    huge = json_payload(b'"' + b"x" * (size - 2) + b'"')
    calls = {
        "start": scene.raw.start(DIALOGUE_WORKFLOW, f"dlg-{uuid.uuid4().hex[:12]}", huge),
        "update": scene.raw.update(conversation, "say", huge),
        "signal": scene.raw.signal(conversation, "feedback", huge),
        "query": scene.raw.query(conversation, "transcript", huge),
    }
    for name, call in calls.items():
        with pytest.raises(RPCError, match=r"limit|larger than max") as refused:
            await asyncio.wait_for(call, 20)
        assert refused.value.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.RESOURCE_EXHAUSTED), name
    await scene.answers(conversation)
    await scene.assert_no_task_was_lost(conversation)


async def test_names_that_nobody_knows_fail_that_call_alone(scene: Scene) -> None:
    """Unknown updates and queries are told the names that there are; an unknown signal leaves a line in the log."""
    conversation = await scene.conversation()
    for name in ("sing", "s" * 900):
        refused = await scene.raw.update(conversation, name, json_payload({}))
        assert isinstance(refused, Failure)
        assert "known updates: [cancel_turn close resolve_review say]" in refused.message
        with pytest.raises(RPCError, match=r"known queries: .* reply transcript"):
            await scene.raw.query(conversation, name, json_payload({}))
        await scene.raw.signal(conversation, name, json_payload({}), MALFORMED["another codec's"])
    await scene.answers(conversation)
    assert "signal ignored: no signal has the name sing" in scene.log.text
    await scene.assert_no_task_was_lost(conversation)


async def test_an_update_id_may_be_as_long_as_the_server_takes(scene: Scene) -> None:
    """A thousand characters are answered, one more is refused by the server."""
    conversation = await scene.conversation()
    say = json_payload({"message_id": "m1", "text": "How long?"})
    with pytest.raises(RPCError, match="UpdateId length exceeds limit"):
        await scene.raw.update(conversation, "say", say, id_="i" * 1001)
    assert not isinstance(await scene.raw.update(conversation, "say", say, id_="i" * 1000), Failure)
    await scene.assert_no_task_was_lost(conversation)


@pytest.mark.parametrize("text", ["please refuse ", "How long? "])
async def test_the_longest_messages_do_not_swell_a_conversation(scene: Scene, text: str) -> None:
    """Summaries, details, transcript and what is carried on are bounded, however much was said."""
    conversation = await scene.conversation(turns_per_run=8)
    longest = (text + "退货 " * MAX_MESSAGE_CHARACTERS)[:MAX_MESSAGE_CHARACTERS]
    for number in range(10):
        say = json_payload({"message_id": f"m{number}", "text": f"{number}{longest[1:]}"})
        assert not isinstance(await scene.raw.update(conversation, "say", say), Failure)
    queried = await scene.raw.query(conversation, "transcript")
    assert queried.ByteSize() < 2 * MAX_CARRIED_BYTES
    for request in scene.steps.called("generate_answer"):
        assert len(request.model_dump_json()) < 3 * MAX_CARRIED_BYTES
    carried = [run[-1] for run in (await scene.runs(conversation))[:-1]]
    assert carried
    assert all(event.ByteSize() < 2 * MAX_CARRIED_BYTES for event in carried)
    metadata = await scene.raw.query(conversation, "__temporal_workflow_metadata")
    assert metadata.ByteSize() < 20_000
    await scene.assert_no_task_was_lost(conversation)


@pytest.mark.full
async def test_a_flood_of_long_messages_cannot_fill_a_run(scene: Scene) -> None:
    """Where a message always waits the run could never continue as new; so beyond a bound some are told to wait."""
    conversation = await scene.conversation(pending=10)
    told_to_wait = 0

    async def said(fields: dict[str, str]) -> bool:
        nonlocal told_to_wait
        try:
            outcome = await scene.raw.update(conversation, "say", json_payload(fields))
        except RPCError as error:  # between two runs, or ten at once: a client of an SDK comes again by itself
            if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
                raise
            return False
        if isinstance(outcome, Failure):
            assert outcome.application_failure_info.type == "conversation-busy"
            told_to_wait += 1
            return False
        return True

    async def person(name: str) -> None:
        for number in range(12):
            fields = {"message_id": f"{name}-{number}", "text": f"{name} {number} " + "x" * 90_000}
            while not await said(fields):  # noqa: ASYNC110 (as a client does that was told to wait)
                await asyncio.sleep(0.2)

    await asyncio.gather(*(person(name) for name in ("ann", "bob", "cid", "dan")))
    assert told_to_wait
    assert len(scene.steps.rows) == 1 + 4 * 12
    handle = scene.client.get_workflow_handle(conversation)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    sizes = [sum(event.ByteSize() for event in run) for run in await scene.runs(conversation)]
    assert max(sizes) < 30_000_000  # the server terminates at 50 MB


async def test_many_at_once_are_refused_one_by_one(scene: Scene) -> None:
    """Good and bad ones that reach one workflow task together do not spoil one another."""
    conversation = await scene.conversation(pending=20)
    good = [json_payload({"message_id": f"g{number}", "text": "How long?"}) for number in range(4)]
    bad = [MALFORMED["half a JSON object"], MALFORMED["another codec's"], MALFORMED["100,000 unknown fields"]]
    outcomes = await asyncio.gather(*(scene.raw.update(conversation, "say", each) for each in [*good, *bad]))
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False] * 4 + [True] * 3
    await scene.assert_no_task_was_lost(conversation)


async def test_update_with_start_tells_a_bad_start(scene: Scene) -> None:
    """The message's failure is the reason of the start, and there is one failed run."""
    conversation = f"conv-{uuid.uuid4().hex[:12]}"
    start = {"pending": 1, "carried": {"turns": "x"}}
    with pytest.raises(InvalidRequest, match="carried: is set by continue-as-new alone"):
        await scene.conversations.say(conversation, Say(message_id="m1", text="hi"), start=start)
    handle = scene.client.get_workflow_handle(conversation)
    await asyncio.gather(handle.result(), return_exceptions=True)
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
    await scene.assert_no_task_was_lost(conversation)


async def test_through_the_gateway_core(scene: Scene) -> None:
    """What the core lets a caller send wrongly comes back as the fault that says so."""
    conversation = await scene.conversation()
    core, long_ = scene.conversations, "x" * MAX_MESSAGE_CHARACTERS
    messages = tuple(ChatMessage(role="user", content=long_) for _ in range(20))
    with pytest.raises(MessageTooLong, match="Send at most 1500000"):
        await core.ask(DialogueStart(messages=messages))
    for name in ("say", "cancel_turn", "resolve_review", "close"):
        with pytest.raises(InvalidRequest):
            await core._update(conversation, name, ["no", "object"])
    with pytest.raises(ParleyFault, match="Input should be a valid dictionary"):
        await core._query(conversation, "transcript", "words", dict)
    with pytest.raises(UnknownConversation):
        await core._update(conversation, "sing", {})
    await core.say(conversation, Say(message_id="m1", text="one"))
    with pytest.raises(MessageIdReused):
        await core.say(conversation, Say(message_id="m1", text="two"))
    await scene.answers(conversation)
    await scene.assert_no_task_was_lost(conversation)


async def test_a_dialogue_with_a_long_history_is_answered(scene: Scene) -> None:
    """Up to the bound of a call; its last message is the question."""
    messages = [{"role": "user", "content": f"{number} " + "退" * 40_000} for number in range(10)]
    question = DialogueStart.model_validate({"messages": [*messages, {"role": "user", "content": "How long?"}]})
    reply = await scene.conversations.ask(question)
    assert reply.verdict == "pass"
    assert len(scene.steps.called("generate_answer")[0].history) == 10
    await scene.assert_no_task_was_lost(reply.conversation)
