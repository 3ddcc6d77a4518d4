"""Payloads under encryption: what is on the server, what comes back, and what a missing key looks like."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHistory,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.converter import ActivitySerializationContext, WorkflowSerializationContext
from temporalio.exceptions import ApplicationError
from temporalio.service import GrpcCompression
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from dialogue.faults import KeyDestroyed, KeyMissing, MessageIdReused, PlainRefused, SealBroken, UnknownConversation
from dialogue.messages import DialogueStart, Feedback, ResolveReview, Say
from dialogue.turn import Reply
from gateway.conversations import Conversations, new_conversation_id
from records.codec import KEY_ID, WORKFLOW, EncryptionCodec, is_sealed, sealed_payloads
from records.data_keys import DataKeys
from records.database import migrate
from records.key_owners import KeyOwner, KeyOwners
from records.payload_store import LocalPayloads, is_reference
from records.payloads import FORGOTTEN
from records.plugin import parley_plugin
from records.protection import Protection, open_protection
from records.readable import check_readable
from replay.events import payloads_of
from replay.histories import live
from replay.story import tell
from settings.schema import EncryptionSettings, ExternalSettings, Settings
from tests.support.record_histories import FOLDER
from tests.support.scripted_steps import SAID, ScriptedSteps, scripted_worker
from workflows.conversation_workflow import ConversationWorkflow
from workflows.dialogue_workflow import DialogueWorkflow
from workflows.names import KEEP_RECORDS_SCHEDULE

QUESTION = "How long may I return shoes zebra-4711? 退货期限是多久？"


@dataclass
class SealedSite:
    protection: Protection
    client: Client
    plain: Client
    steps: ScriptedSteps
    conversations: Conversations
    settings: Settings

    async def say(self, conversation: str, text: str, user: str = "ann-4711", message_id: str | None = None) -> Reply:
        say = Say(message_id=message_id or f"m-{uuid.uuid4().hex[:8]}", text=text, user=user)
        reply = await self.conversations.say(conversation, say, fresh=True)
        assert isinstance(reply, Reply)
        return reply

    async def history(self, workflow_id: str) -> WorkflowHistory:
        return await self.client.get_workflow_handle(workflow_id).fetch_history()


async def a_protection(folder: Path, **encryption: object) -> tuple[Settings, Protection]:
    settings = Settings(data=folder, encryption=EncryptionSettings(provider="local", **encryption))  # type: ignore[arg-type]
    await migrate(f"sqlite+aiosqlite:///{folder / 'records.db'}")
    protection = open_protection(settings)
    assert protection is not None
    return settings, protection


@pytest.fixture
async def site(temporal: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[SealedSite]:
    """A scripted worker and a client whose payloads are sealed; large ones are stored outside."""
    external = ExternalSettings(store="local", threshold=4096)
    settings, protection = await a_protection(tmp_path, external=external)
    address = temporal.client.service_client.config.target_host
    client = await Client.connect(address, plugins=[parley_plugin(strict=True, protection=protection)])
    queue = f"sealed-{uuid.uuid4().hex[:8]}"
    steps = ScriptedSteps(queue)
    core = Conversations(client, task_queue=queue, web_ui="http://127.0.0.1:8233", keys=protection.keys)
    async with scripted_worker(client, steps):
        yield SealedSite(protection, client, temporal.client, steps, core, settings)


def raw(history: WorkflowHistory) -> bytes:
    """As it stands on the server."""
    return b"".join(event.SerializeToString() for event in history.events)


def stored_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def replayer(protection: Protection | None) -> Replayer:
    return Replayer(
        workflows=[ConversationWorkflow, DialogueWorkflow], plugins=[parley_plugin(strict=True, protection=protection)]
    )


async def test_a_conversation_leaves_no_word_on_the_server(site: SealedSite, tmp_path: Path) -> None:
    """Not in inputs, results, summaries, memo, failures or details; it reads, repeats and replays as ever."""
    conversation = new_conversation_id()
    reply = await site.say(conversation, QUESTION, message_id="m-1")
    again = await site.say(conversation, QUESTION, message_id="m-1")
    long = await site.say(conversation, f"{QUESTION} {'long ' * 1500}")
    transcript = await site.conversations.transcript(conversation, "default")
    await site.conversations.close(conversation, "default")
    history = await site.history(conversation)
    assert reply.answer == again.answer
    assert "30 days" in reply.answer
    assert "30 days" in long.answer
    assert transcript.turns[0].question == QUESTION
    described = await site.plain.get_workflow_handle(conversation).describe()
    on_the_server = raw(history) + described.raw_description.SerializeToString()
    for word in ("zebra-4711", "30 days", "退货", "ann-4711", "opened by"):
        assert word.encode() not in on_the_server, word
    assert len(sealed_payloads(history)) > 20
    stored = await asyncio.to_thread(stored_files, tmp_path / "payloads")
    assert stored
    assert not any(b"zebra-4711" in path.read_bytes() for path in stored)
    # read by another process, from its own memory of keys
    fresh = open_protection(site.settings)
    result = await replayer(fresh).replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None
    await check_readable(history, fresh)


async def test_what_is_sealed_is_not_compressed_on_its_way(site: SealedSite) -> None:
    """It would not shrink; in clear the SDK compresses as it does by itself."""
    assert site.client.service_client.config.grpc_compression is GrpcCompression.NONE
    assert site.plain.service_client.config.grpc_compression is GrpcCompression.GZIP


async def test_a_one_shot_is_sealed_too(site: SealedSite) -> None:
    """Its memo among it: asked twice it is one, asked otherwise it is refused."""
    question = DialogueStart(question=QUESTION, tenant="default", user="ann-4711", message_id="q-1")
    dialogue = f"dlg-{uuid.uuid4().hex}"
    reply = await site.conversations.ask(question, dialogue=dialogue)
    assert isinstance(reply, Reply)
    assert "30 days" in reply.answer
    with pytest.raises(MessageIdReused):
        await site.conversations.ask(question.model_copy(update={"question": "Another?"}), dialogue=dialogue)
    assert b"zebra-4711" not in raw(await site.history(dialogue))


async def test_refusals_say_what_they_say_in_clear(site: SealedSite) -> None:
    """An update's and a query's failure are sealed on their way and the same fault at the caller."""
    conversation = new_conversation_id()
    await site.say(conversation, "human, please")
    with pytest.raises(UnknownConversation):
        await site.conversations.transcript(conversation, "stranger")
    with pytest.raises(UnknownConversation):
        await site.conversations.close(conversation, "stranger")
    decision = ResolveReview(turn=1, decision="edit", answer="Zebra-4711 says yes", by="r", tenant="default")
    await site.conversations.resolve_review(conversation, decision)
    reply = await site.conversations.reply(conversation, 1, "default")
    assert reply is not None
    assert reply.answer == "Zebra-4711 says yes"
    assert b"Zebra-4711" not in raw(await site.history(conversation))


async def test_another_tenants_message_leaves_a_conversation_as_it_is(site: SealedSite) -> None:
    """It is refused before it is sealed: key, owner and what is said later stay the first tenant's."""
    conversation = new_conversation_id()
    await site.say(conversation, QUESTION, message_id="m-1")
    before = await site.history(conversation)
    foreign = Say(message_id="m-2", text="zebra-4712", tenant="other", user="bob")
    for fresh in (False, True):
        with pytest.raises(UnknownConversation, match=f"conversation {conversation} belongs to no tenant you may read"):
            await site.conversations.say(conversation, foreign, fresh=fresh)
    assert len((await site.history(conversation)).events) == len(before.events)
    assert (await site.protection.keys.destroy("other", "bob")).workflows == ()
    later = await site.say(conversation, "And socks?")
    assert "30 days" in later.answer
    (key,) = {p.metadata[KEY_ID].decode() for p in sealed_payloads(await site.history(conversation))}
    mine = await site.protection.keys.of_user("default", "ann-4711")
    assert key == mine.id
    assert await KeyOwners(site.protection.keys._engine).of([key]) == {
        key: KeyOwner("default", frozenset({"ann-4711"}))
    }


async def test_no_conversation_has_an_id_of_the_sites_schedule(site: SealedSite) -> None:
    """It would stand where the next sweep is to run."""
    for name in (KEEP_RECORDS_SCHEDULE, f"{KEEP_RECORDS_SCHEDULE}-2126-11-30T05:00:00Z"):
        with pytest.raises(UnknownConversation):
            await site.say(name, QUESTION)


async def test_a_forgotten_users_history_opens_no_more_and_says_so(site: SealedSite) -> None:
    """A typed fault that names the key, also for what is stored outside; another user's history still replays."""
    theirs, other = new_conversation_id(), new_conversation_id()
    for conversation, user in ((theirs, "ann-4711"), (other, "bob")):
        await site.say(conversation, f"{QUESTION} {'long ' * 1500}", user)
        await site.conversations.close(conversation, "default")
        await site.client.get_workflow_handle(conversation).result()
    gone, kept = await site.history(theirs), await site.history(other)
    destroyed = await site.protection.keys.destroy("default", "ann-4711")
    assert theirs in destroyed.workflows
    fresh = open_protection(site.settings)
    with pytest.raises(KeyDestroyed):
        await check_readable(gone, fresh)
    assert fresh is not None
    outside = [payload for event in gone.events for payload in payloads_of(event) if is_reference(payload)]
    assert outside
    for reference in outside:
        with pytest.raises(KeyDestroyed):
            await fresh.data_converter.decode([reference], [RawValue])
    failure = (await replayer(fresh).replay_workflow(gone, raise_on_replay_failure=False)).replay_failure
    assert failure is not None
    assert (await replayer(fresh).replay_workflow(kept, raise_on_replay_failure=False)).replay_failure is None
    with pytest.raises(KeyMissing, match=r"encryption\.provider"):
        await check_readable(gone, None)


async def test_a_turn_that_is_stored_outside_is_told_whole(site: SealedSite) -> None:
    """Its history names in clear where each long value is; who tells the turn reads the value."""
    conversation, text = new_conversation_id(), f"{QUESTION} {'long ' * 1500}".strip()
    reply = await site.say(conversation, text)
    history = await site.history(conversation)
    assert [payload for event in history.events for payload in payloads_of(event) if is_reference(payload)]
    chain = await live(site.client, conversation)
    story = tell(chain)
    assert chain.problems + story.problems == ()
    (turn,) = story.turns
    assert (turn.said, turn.question, turn.answer) == (text, text, reply.answer)
    bare = tell(await live(site.plain, conversation))
    assert bare.turns[0].question == ""


async def test_what_two_users_said_is_gone_with_either(site: SealedSite) -> None:
    """From the second user's first message on the conversation is sealed under a key of both."""
    conversation = new_conversation_id()
    await site.say(conversation, QUESTION, "ann-4711")
    before = {p.metadata[KEY_ID] for p in sealed_payloads(await site.history(conversation))}
    await site.say(conversation, "And socks?", "bob")
    whole = [p.metadata[KEY_ID] for p in sealed_payloads(await site.history(conversation))]
    assert len(set(whole)) == 2
    later = {key for key in whole if key not in before}
    assert len(before) == len(later) == 1
    assert set(whole[whole.index(*later) :]) == later
    await site.protection.keys.destroy("default", "bob")
    with pytest.raises(KeyMissing):
        await check_readable(await site.history(conversation), open_protection(site.settings))


async def holding(site: SealedSite, conversation: str, text: str) -> tuple[int, int]:
    """How many sealed payloads of a history hold that text, and how many do not open any more."""
    codec = EncryptionCodec(DataKeys(site.protection.keys._engine, site.protection.keys._provider))
    held = closed = 0
    for payload in sealed_payloads(await site.history(conversation)):
        try:
            held += text.encode() in (await codec.decode([payload]))[0].data
        except KeyDestroyed:
            closed += 1
    return held, closed


async def test_what_a_second_user_commented_is_gone_with_them(site: SealedSite) -> None:
    """The signal and what the workflow hands on are under a key of both. A score alone joins nobody."""
    conversation = new_conversation_id()
    await site.say(conversation, QUESTION, "ann-4711")
    score = Feedback(turn=1, score=1, user="bob")
    assert await site.conversations.signal_feedback(conversation, score)
    assert await site.protection.keys.workflows_of("default", "bob") == ()
    comment = score.model_copy(update={"comment": "zebra-4712"})
    assert await site.conversations.signal_feedback(conversation, comment)
    await site.conversations.close(conversation, "default")
    await site.client.get_workflow_handle(conversation).result()
    assert await holding(site, conversation, "zebra-4712") == (2, 0)
    assert not await site.conversations.signal_feedback(conversation, comment)
    assert (await site.protection.keys.destroy("default", "bob")).workflows == (conversation,)
    held, closed = await holding(site, conversation, "zebra-4712")
    assert held == 0
    assert closed >= 2
    assert (await holding(site, conversation, "zebra-4711"))[0]  # ann's own words of before


async def test_what_a_second_user_said_through_a_remote_codec_is_gone_with_them(site: SealedSite) -> None:
    """From their message on the workflow seals under a key of both, before any step knows who spoke."""
    conversation = new_conversation_id()
    await site.say(conversation, QUESTION, "ann-4711")
    said = Say(message_id="m-2", text="And zebra-4712?", user="bob")
    (payload,) = site.plain.data_converter.payload_converter.to_payloads([said])
    (sealed,) = await site.protection.codec.for_user("default", "bob").encode([payload])
    plainly = site.plain.get_workflow_handle(conversation)
    await plainly.execute_update("say", RawValue(sealed), id="m-2", result_type=RawValue)
    whole = sealed_payloads(await site.history(conversation))
    later = len(whole) - whole.index(sealed)
    assert (await holding(site, conversation, "zebra-4712"))[0] > 1
    assert (await site.protection.keys.destroy("default", "bob")).workflows == (conversation,)
    assert await holding(site, conversation, "zebra-4712") == (0, later)


@pytest.mark.parametrize("remembers", [True, False])
async def test_who_is_forgotten_while_their_words_are_on_their_way_is_not_heard(
    site: SealedSite, remembers: bool
) -> None:
    """Through a remote codec, in a worker that remembers their key and in one that does not: a message, a question and
    a start fail alone with the reason, a comment is kept by nobody, and the other user's conversation goes on."""
    conversation, elsewhere = new_conversation_id(), open_protection(site.settings)
    assert elsewhere is not None
    await site.say(conversation, QUESTION, "ann-4711")
    texts = (
        Say(message_id="m-2", text="And zebra-4712?", user="bob"),
        Feedback(turn=1, score=1, user="bob", comment="zebra-4712"),
        DialogueStart(question="zebra-4712", tenant="default", user="bob"),
    )
    sealed = await elsewhere.codec.for_user("default", "bob").encode(
        site.plain.data_converter.payload_converter.to_payloads(texts)
    )
    said, comment, start = map(RawValue, sealed)
    if remembers:
        await site.protection.codec.decode(sealed)
    assert (await elsewhere.keys.destroy("default", "bob")).workflows == ()
    plainly = site.plain.get_workflow_handle(conversation)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await asyncio.wait_for(plainly.execute_update("say", said, id="m-2"), 20)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "key-destroyed"
    with pytest.raises(WorkflowQueryFailedError, match="key-destroyed"):
        await asyncio.wait_for(plainly.query("transcript", said), 20)
    await plainly.signal("feedback", comment)
    name = f"dlg-{uuid.uuid4().hex}"
    await site.plain.start_workflow("DialogueWorkflow", start, id=name, task_queue=site.steps.queue)
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(site.client.get_workflow_handle(name).result(), 20)
    assert isinstance(ended.value.cause, ApplicationError)
    assert ended.value.cause.type == "key-destroyed"
    assert "30 days" in (await asyncio.wait_for(site.say(conversation, "And socks?"), 20)).answer
    assert site.steps.feedback == []
    assert await holding(site, conversation, "zebra-4712") == (0, 1)
    assert await elsewhere.keys.held("default", "bob") is None
    assert (await elsewhere.keys.destroy("default", "bob")).keys == 0
    # as another worker takes it up, which opened none of it
    history = await site.history(conversation)
    replay = await replayer(open_protection(site.settings)).replay_workflow(history, raise_on_replay_failure=False)
    assert replay.replay_failure is None
    with pytest.raises(KeyDestroyed):
        await check_readable(history, site.protection)
    locked = (await live(site.client, conversation)).problems
    assert "its key was destroyed" in str(locked)


async def test_who_has_no_codec_is_heard_where_the_site_allows_it(site: SealedSite) -> None:
    """A start in clear is read; what the worker answers is sealed all the same."""
    conversation = f"dlg-{uuid.uuid4().hex}"
    question = DialogueStart(question="In clear zebra-1", tenant="default", user="ann-4711")
    handle = await site.plain.start_workflow("DialogueWorkflow", question, id=conversation, task_queue=site.steps.queue)
    sealed = await site.client.get_workflow_handle(handle.id).result()
    assert SAID in sealed["answer"]
    written = raw(await site.history(conversation))
    assert written.count(b"zebra-1") == 1
    assert SAID.encode() not in written


async def test_who_sends_plain_payloads_where_none_are_read_is_told(site: SealedSite, tmp_path: Path) -> None:
    """A start, a message and a question: that call alone fails, with the reason, and the conversation goes on."""
    given = site.settings.encryption.model_copy(update={"accept_plain": False})
    strict = open_protection(site.settings.model_copy(update={"encryption": given}))
    address = site.client.service_client.config.target_host
    client = await Client.connect(address, plugins=[parley_plugin(strict=True, protection=strict)])
    steps = ScriptedSteps(f"strict-{uuid.uuid4().hex[:8]}")
    core = Conversations(client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233", keys=site.protection.keys)
    async with scripted_worker(client, steps):
        question = DialogueStart(question="In clear", tenant="default", user="ann-4711")
        started = await site.plain.start_workflow(
            "DialogueWorkflow", question, id=f"dlg-{uuid.uuid4().hex}", task_queue=steps.queue
        )
        with pytest.raises(WorkflowFailureError) as ended:
            await asyncio.wait_for(client.get_workflow_handle(started.id).result(), 20)
        assert fault_of(ended.value.cause) == ("plain-refused", True)
        conversation = new_conversation_id()
        say = Say(message_id="m-1", text=QUESTION, user="ann-4711")
        assert isinstance(await core.say(conversation, say, fresh=True), Reply)
        plainly = site.plain.get_workflow_handle(conversation)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await asyncio.wait_for(plainly.execute_update("say", say, id="m-2"), 20)
        assert isinstance(refused.value.cause, ApplicationError)
        again = say.model_copy(update={"message_id": "m-3"})
        assert isinstance(await core.say(conversation, again, fresh=False), Reply)


def fault_of(error: BaseException) -> tuple[str | None, bool]:
    assert isinstance(error, ApplicationError)
    return error.type, "encryption.accept_plain" in error.message


async def test_payloads_of_a_remote_codec_make_the_workflow_the_users(site: SealedSite) -> None:
    """A service in another language seals with the user alone; what comes after is under the same key."""
    codec = site.protection.codec.for_user("default", "ann-4711")
    (payload,) = site.plain.data_converter.payload_converter.to_payloads(
        [DialogueStart(question=QUESTION, tenant="default", user="ann-4711")]
    )
    (sealed,) = await codec.encode([payload])
    workflow_id = f"dlg-{uuid.uuid4().hex}"
    handle = await site.plain.start_workflow(
        "DialogueWorkflow", RawValue(sealed), id=workflow_id, task_queue=site.steps.queue
    )
    await site.client.get_workflow_handle(handle.id).result()
    mine = await site.protection.keys.of_user("default", "ann-4711")
    found = {p.metadata[KEY_ID].decode() for p in sealed_payloads(await site.history(workflow_id))}
    assert found == {mine.id}


async def test_who_was_forgotten_comes_back_through_a_remote_codec(site: SealedSite) -> None:
    """Under the same workflow id: sealed under their new key, and what was before stays gone."""
    workflow_id, codec = f"dlg-{uuid.uuid4().hex}", site.protection.codec.for_user("default", "ann-4711")
    question = DialogueStart(question=QUESTION, tenant="default", user="ann-4711")
    found: list[set[str]] = []
    for _ in range(2):
        (payload,) = site.plain.data_converter.payload_converter.to_payloads([question])
        start = RawValue((await codec.encode([payload]))[0])
        await site.plain.start_workflow("DialogueWorkflow", start, id=workflow_id, task_queue=site.steps.queue)
        await asyncio.wait_for(site.client.get_workflow_handle(workflow_id).result(), 20)
        history = await site.history(workflow_id)
        found.append({p.metadata[KEY_ID].decode() for p in sealed_payloads(history)})
        if len(found) == 1:
            await site.protection.keys.destroy("default", "ann-4711")
            with pytest.raises(KeyDestroyed):
                await check_readable(history, site.protection)
    mine = await site.protection.keys.of_user("default", "ann-4711")
    assert found[1] == {mine.id}
    assert found[0].isdisjoint(found[1])


async def test_histories_in_clear_replay_under_encryption(tmp_path: Path) -> None:
    """What was recorded before a site began to encrypt, and not where it takes nothing in clear."""
    _, protection = await a_protection(tmp_path)
    for name in ("normal", "human-resolved", "continued-as-new.1", "dialogue"):
        history = WorkflowHistory.from_json(name, json.loads((FOLDER / f"{name}.json").read_text()))
        result = await replayer(protection).replay_workflow(history, raise_on_replay_failure=False)
        assert result.replay_failure is None, name


# the codec alone ------------------------------------------------------------------------------------


@pytest.fixture
async def keys(tmp_path: Path) -> DataKeys:
    return (await a_protection(tmp_path))[1].keys


def of(workflow_id: str) -> WorkflowSerializationContext:
    return WorkflowSerializationContext(namespace="default", workflow_id=workflow_id)


PAYLOAD = Payload(metadata={"encoding": b"json/plain"}, data=b'"zebra"')


async def test_a_payload_opens_in_its_workflow_alone(keys: DataKeys) -> None:
    """Also in its activities, in any namespace, and where the workflow is not told (a codec server)."""
    await keys.bind("w-1", "acme", "ann")
    codec = EncryptionCodec(keys)
    (sealed,) = await codec.with_context(of("w-1")).encode([PAYLOAD])
    assert is_sealed(sealed)
    assert sealed.metadata[WORKFLOW] == b"w-1"
    activity = ActivitySerializationContext(
        namespace="another", activity_id=None, activity_type=None, activity_task_queue=None,
        workflow_id="w-1", workflow_type=None, is_local=False,
    )  # fmt: skip
    for reader in (codec, codec.with_context(of("w-1")), codec.with_context(activity)):
        assert await reader.decode([sealed]) == [PAYLOAD]
    for other in ("w-2", "w-10", "w-1-2", "x", ""):
        with pytest.raises(SealBroken, match=f"{other}: holds a payload that was sealed for w-1"):
            await EncryptionCodec(keys, workflow_id=other).decode([sealed])


async def test_what_a_forgotten_user_sent_is_left_out_of_anothers_workflow_alone(keys: DataKeys) -> None:
    """In a process that remembers their key and in one that does not; in a workflow that went with them nothing goes
    on, and a codec server says so."""
    await keys.bind("ann's", "acme", "ann")
    await keys.bind("bob's", "acme", "bob")
    (sealed,) = await EncryptionCodec(keys).for_user("acme", "bob").encode([PAYLOAD])
    processes = [DataKeys(keys._engine, keys._provider) for _ in range(2)]
    assert await EncryptionCodec(processes[0]).decode([sealed]) == [PAYLOAD]
    await keys.destroy("acme", "bob")
    for process in processes:
        codec = EncryptionCodec(process)
        (left,) = await codec.with_context(of("ann's")).decode([sealed])
        assert left == Payload(metadata={"encoding": FORGOTTEN})
        for closed in (codec, codec.with_context(of("bob's"))):
            with pytest.raises(KeyDestroyed):
                await closed.decode([sealed])


async def test_a_schedules_next_run_reads_the_result_of_the_one_before(keys: DataKeys) -> None:
    """They are under one key: the action's own, where its arguments are sealed, else that of the first run."""
    codec = EncryptionCodec(keys)
    for action, sealed_arguments in (("daily", True), ("hourly", False)):
        (given,) = await codec.with_context(of(action)).encode([PAYLOAD]) if sealed_arguments else [PAYLOAD]
        result, found = None, set[bytes]()
        for hour in (4, 5, 6):
            name = f"{action}-2026-11-29T0{hour}:00:00Z"
            run = EncryptionCodec(DataKeys(keys._engine, keys._provider)).with_context(of(name))  # another process
            for each in filter(None, (given, result)):
                assert await run.decode([each]) == [PAYLOAD]
            (early,) = await run.encode([PAYLOAD])
            await keys.bind(name, "acme", "robot")
            (result,) = await run.encode([PAYLOAD])
            found |= {early.metadata[KEY_ID], result.metadata[KEY_ID]}
        assert len(found) == 1
        with pytest.raises(SealBroken):
            await codec.with_context(of("w-2-2026-11-29T05:00:00Z")).decode([result])


async def test_no_workflow_reads_anothers_by_a_schedules_name(keys: DataKeys) -> None:
    """Whoever calls theirs like a run of it has another key, be they of that tenant or of another, or nobody yet."""
    await keys.bind("conv-1", "acme", "ann")
    codec = EncryptionCodec(keys)
    (sealed,) = await codec.with_context(of("conv-1")).encode([PAYLOAD])
    await keys.bind("conv-1-2026-01-01T00:00:00Z", "other", "bob")
    await keys.bind("conv-1-2026-01-02T00:00:00Z", "acme", "ben")
    await keys.of_workflow("conv-1-2026-01-03T00:00:00Z")
    for day in (1, 2, 3):
        with pytest.raises(SealBroken, match="somebody moved it"):
            await codec.with_context(of(f"conv-1-2026-01-0{day}T00:00:00Z")).decode([sealed])
    assert await codec.with_context(of("conv-1-2026-01-04T00:00:00Z")).decode([sealed]) == [PAYLOAD]
    with pytest.raises(UnknownConversation):  # that one is ann's now, and under her key
        await keys.bind("conv-1-2026-01-04T00:00:00Z", "other", "bob")


async def test_the_sites_own_schedule_reads_its_results(keys: DataKeys) -> None:
    """Also where each run has a key of its own, as all had before."""
    codec = EncryptionCodec(keys)
    for hour in (4, 5):
        await keys.of_workflow(f"{KEEP_RECORDS_SCHEDULE}-2026-11-29T0{hour}:00:00Z")
    (result,) = await codec.with_context(of(f"{KEEP_RECORDS_SCHEDULE}-2026-11-29T04:00:00Z")).encode([PAYLOAD])
    assert await codec.with_context(of(f"{KEEP_RECORDS_SCHEDULE}-2026-11-29T05:00:00Z")).decode([result]) == [PAYLOAD]


async def test_the_sites_own_schedule_has_one_key(keys: DataKeys) -> None:
    """A sweep goes on under that of the one before, also after one that had a key of its own; not under a user's, with
    whom it would be forgotten."""

    async def sweep(hour: int, before: Payload | None) -> Payload:
        process = DataKeys(keys._engine, keys._provider)
        run = EncryptionCodec(process).with_context(of(f"{KEEP_RECORDS_SCHEDULE}-2026-11-29T0{hour}:00:00Z"))
        if before is not None:
            assert await run.decode([before]) == [PAYLOAD]
        (result,) = await run.encode([PAYLOAD])
        return result

    first = await sweep(1, None)
    own = await keys.of_workflow(f"{KEEP_RECORDS_SCHEDULE}-2026-11-29T02:00:00Z")
    results = [first]
    for hour in (2, 3, 4):
        results.append(await sweep(hour, results[-1]))
    assert [each.metadata[KEY_ID] for each in results[1:]] == [own.id.encode()] * 3
    await keys.bind(f"{KEEP_RECORDS_SCHEDULE}-2026-11-29T05:00:00Z", "acme", "ann")
    anns = await sweep(5, results[-1])
    after = await sweep(6, anns)
    assert len({each.metadata[KEY_ID] for each in (results[-1], anns, after)}) == 3


async def test_a_converter_remembers_a_workflow_and_no_other_gets_its_key(keys: DataKeys) -> None:
    """The copy for a workflow is made once; of each workflow, and of a converter with another codec, it is its own."""
    await keys.bind("w-1", "acme", "ann")
    await keys.bind("w-2", "acme", "ben")
    converter = Protection(keys, EncryptionCodec(keys)).data_converter
    assert converter.with_context(of("w-1")) is converter.with_context(of("w-1"))
    mine, theirs = [(await converter.with_context(of(name)).encode(["zebra"]))[0] for name in ("w-1", "w-2")]
    assert mine.metadata[KEY_ID] != theirs.metadata[KEY_ID]
    in_clear = dataclasses.replace(converter, payload_codec=None)
    assert not is_sealed((await in_clear.with_context(of("w-1")).encode(["zebra"]))[0])


async def test_a_payload_that_was_tampered_with_is_refused(keys: DataKeys) -> None:
    """Its data, its key, its workflow: a typed fault each, and never another text."""
    codec = EncryptionCodec(keys)
    await keys.of_user("acme", "bob")
    other = (await keys.of_user("acme", "bob")).id.encode()
    (sealed,) = await codec.with_context(of("w-1")).encode([PAYLOAD])
    for name, value, fault in (
        (WORKFLOW, b"w-2", SealBroken),
        (WORKFLOW, b"", SealBroken),
        (KEY_ID, other, SealBroken),
        (KEY_ID, b"0" * 16, KeyMissing),
        (KEY_ID, b"", KeyMissing),
        (KEY_ID, b"\xff\xfe", KeyMissing),
    ):
        changed = Payload()
        changed.CopyFrom(sealed)
        changed.metadata[name] = value
        with pytest.raises(fault):
            await codec.decode([changed])
    cut = Payload(metadata=sealed.metadata, data=sealed.data[:-1])
    with pytest.raises(SealBroken):
        await codec.decode([cut])


async def test_what_is_in_clear_is_read_only_where_that_is_allowed(keys: DataKeys) -> None:
    """``encryption.accept_plain``."""
    assert await EncryptionCodec(keys).decode([PAYLOAD]) == [PAYLOAD]
    with pytest.raises(PlainRefused, match=r"encryption\.accept_plain"):
        await EncryptionCodec(keys, accept_plain=False).decode([PAYLOAD])


async def test_a_stored_payload_is_held_against_its_digest(tmp_path: Path) -> None:
    """What is missing or was changed in the folder is said, and not decoded."""
    from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext

    from dialogue.faults import ContentMissing

    store = LocalPayloads(tmp_path)
    claims = await store.store(StorageDriverStoreContext(), [PAYLOAD])
    assert await store.retrieve(StorageDriverRetrieveContext(), claims) == [PAYLOAD]
    digest = claims[0].claim_data["sha256"]
    file = tmp_path / digest[:2] / digest
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ContentMissing, match="damaged"):
        await store.retrieve(StorageDriverRetrieveContext(), claims)
    assert await store.trim(3600) == 0
    assert await store.trim(-1) == 1
    with pytest.raises(ContentMissing, match="Does every worker reach"):
        await store.retrieve(StorageDriverRetrieveContext(), claims)
