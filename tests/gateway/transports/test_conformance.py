"""What every transport promises: the same conversation, nothing lost on the way, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dialogue.messages import TextFile
from dialogue.turn import Reply
from records.database import migrate
from settings.layout import Layout
from tests.gateway.transports.conftest import COME_BACK_SECONDS, SECONDS, Site
from tests.gateway.transports.driver import ANSWERS, EVENTS, TRANSCRIPTS, Driver, Got, Refused
from tests.gateway.transports.drivers import on
from tests.support.accepted_update import accepted_update
from tests.support.scripted_steps import SAID

NUMBER = "139 8765 4321"
LONG = f"slow dies sayword Call {NUMBER} one two three four five six seven eight"
"""An answer of twelve pieces, of which the second waits until it is released and the third kills its worker once."""
LONG_ANSWER = LONG.split("sayword ")[1]
MASKED = {"open": False, "gated": True}
"""Tenants whose readers see the answer flow, and whether they see numbers in it."""


async def all_of(events: AsyncGenerator[Got, None]) -> list[Got]:
    async with asyncio.timeout(SECONDS), aclosing(events):
        return [got async for got in events]


async def some_of(events: AsyncGenerator[Got, None], count: int) -> list[Got]:
    """The first ``count``; then the reader leaves."""
    found: list[Got] = []
    async with asyncio.timeout(SECONDS), aclosing(events):
        if count:
            async for got in events:
                found.append(got)
                if len(found) == count:
                    break
    return found


async def until(events: AsyncGenerator[Got, None], kind: str) -> list[Got]:
    """Up to the first event of that kind; the generator stays open."""
    found: list[Got] = []
    async with asyncio.timeout(SECONDS):
        async for got in events:
            found.append(got)
            if got.kind == kind:
                break
    return found


def text_of(events: list[Got], kind: str = "token") -> str:
    return "".join(got.data["text"] for got in events if got.kind == kind)


def seen(text: str, tenant: str) -> str:
    """As that tenant's readers are shown it."""
    return text.replace(NUMBER, "███") if MASKED[tenant] else text


def raw(events: list[Got]) -> list[bytes]:
    return [got.raw for got in events]


async def running(site: Site) -> None:
    await asyncio.wait_for(site.steps.running.wait(), SECONDS)


async def settled(site: Site, conversation: str, message_id: str, tenant: str = "default") -> Reply:
    return await asyncio.wait_for(site.front.conversations.settled(conversation, message_id, tenant), SECONDS)


async def waiting(site: Site, conversation: str, message_id: str) -> None:
    """Until the conversation has taken that message too; no stream tells so."""
    async with asyncio.timeout(SECONDS):
        while True:
            transcript = await site.front.conversations.transcript(conversation, "default")
            if any(turn.message_id == message_id for turn in transcript.turns):
                return
            await asyncio.sleep(0.02)


# the same answer -------------------------------------------------------------------------------------


@on(ANSWERS)
async def test_the_answer_is_the_same_whole_and_streamed(site: Site, transport: type[Driver]) -> None:
    """What was shown and not withdrawn is the answer, where the tenant shows what was reviewed."""
    driver = transport(site.ports[0])
    whole = await driver.whole("How long?", conversation=site.front.new())
    streamed = await all_of(driver.streamed("How long?", conversation=site.front.new()))
    assert streamed[-1].kind == "final"
    assert text_of(streamed) == streamed[-1].data["answer"] == whole["answer"] == f"{SAID} (0)"


@on(ANSWERS)
async def test_a_repeated_message_gets_the_first_answer(site: Site, transport: type[Driver]) -> None:
    """Whole or streamed, on this gateway or another: it is generated once."""
    said = {"conversation": site.front.new(), "message_id": "m-1"}
    first, other = transport(site.ports[0]), transport(site.ports[1])
    answers = [(await first.whole("How long?", **said))["answer"], (await other.whole("How long?", **said))["answer"]]
    answers.append((await all_of(other.streamed("How long?", **said)))[-1].data["answer"])
    assert answers == [f"{SAID} (0)"] * 3
    assert len(site.steps.called("generate_answer")) == 1


@on(ANSWERS)
async def test_a_message_id_is_not_used_for_another_text(site: Site, transport: type[Driver]) -> None:
    driver, said = transport(site.ports[0]), {"conversation": site.front.new(), "message_id": "m-1"}
    await driver.whole("How long?", **said)
    for asking in (driver.whole("Another?", **said), all_of(driver.streamed("Another?", **said))):
        with pytest.raises(Refused) as refused:
            await asking
        assert refused.value.status == 409


@on(ANSWERS)
async def test_a_lost_log_costs_the_stream_and_not_the_answer(site: Site, transport: type[Driver]) -> None:
    site.steps.token_log = None
    events = await all_of(transport(site.ports[0]).streamed("How long?", tenant="open"))
    assert events[-1].kind == "final"
    assert events[-1].data["answer"] == f"{SAID} (0)"


@on(EVENTS)
async def test_a_turn_that_waits_for_a_person_says_so(site: Site, transport: type[Driver]) -> None:
    """Whole, streamed and resumed."""
    driver, conversation = transport(site.ports[0]), site.front.new()
    events = await all_of(driver.streamed("This is doubtful.", conversation=conversation, tenant="open"))
    assert (events[-1].data["state"], events[-1].data["verdict"]) == ("waiting", "human")
    assert "retract" in [got.kind for got in events]
    again = await all_of(driver.resumed(conversation, turn=1, tenant="open"))
    assert raw(again) == raw(events)
    whole = await driver.whole("This is doubtful too.", conversation=site.front.new())
    assert whole["state"] == "waiting"


# files -----------------------------------------------------------------------------------------------


@on(ANSWERS)
async def test_files_go_with_their_message(site: Site, transport: type[Driver]) -> None:
    """As they are, to the first step; an id stands for text and files, and too many or too long ones are refused."""
    driver, said = transport(site.ports[0]), {"conversation": site.front.new(), "message_id": "m-1"}
    files = (TextFile(name="条款 1.txt", text="鞋子：30 天。\r\n\tKeep the box. 📦"), TextFile(name="b.md", text="# B"))
    await driver.whole("How long?", files=files, **said)
    [received] = site.steps.called("receive_input")
    assert (received.text, received.files) == ("How long?", files)
    alone = {"message_id": site.front.new()}
    await driver.whole("How long?", files=files, **alone)
    refusals = {
        "message_id": (files[:1], said),
        alone["message_id"]: (files[:1], alone),
        "Send at most 4": ((*files, *files, *files[:1]), {}),
        "Send at most 20": (files[:1], {"tenant": "acme"}),
    }
    for told, (brought, fields) in refusals.items():
        with pytest.raises(Refused, match=told):
            await driver.whole("How long?", files=brought, **fields)
    assert len(site.steps.called("receive_input")) == 2


# nothing lost ----------------------------------------------------------------------------------------


@on(EVENTS)
@pytest.mark.parametrize("tenant", ["default", "open", "gated"])
async def test_a_reader_resumes_behind_every_event(site: Site, transport: type[Driver], tenant: str) -> None:
    """Ids only grow, and whatever was read before, on either gateway, the rest is the same bytes: of a gated turn,
    whose first try is withdrawn, none of a number that came in pieces, in the thinking or the answer."""
    conversation = site.front.new()
    first = transport(site.ports[0])
    site.steps.reasoning = f"Dial {NUMBER}." if tenant == "gated" else ""
    said = f"That goes bad. sayword Call {NUMBER} now."
    whole = await all_of(first.streamed(said, conversation=conversation, tenant=tenant))
    ids = [got.id for got in whole]
    assert ids == sorted(set(ids))
    if tenant in MASKED:
        assert "retract" in [got.kind for got in whole]
        assert text_of(whole, "reasoning") == seen(site.steps.reasoning * 2, tenant)
        assert text_of(whole) == seen(f"Call {NUMBER} now." * 2, tenant)
    for index, after in enumerate([0, *ids[:-1]]):
        driver = transport(site.ports[index % 2])
        rest = await all_of(driver.resumed(conversation, after=after, turn=1, tenant=tenant))
        assert raw(rest) == raw(whole[index:])


CUTS = st.lists(st.integers(0, 6), max_size=5)
TENANTS = st.sampled_from(sorted(MASKED))


async def check_cuts(site: Site, transport: type[Driver], cuts: list[int], tenant: str) -> None:
    """Reads a turn in pieces, each on the other gateway than the last, while the worker that makes it dies once."""
    steps, conversation = site.steps, site.front.new()
    steps.running.clear()
    steps.release.clear()
    said = {"conversation": conversation, "message_id": "m-1", "tenant": tenant, "on_disconnect": "continue"}
    saying = transport(site.ports[0]).streamed(LONG, **said)
    got = await some_of(saying, 4)  # the fourth is the first piece of the answer: the others wait
    assert text_of(got) == "Call "
    await running(site)
    steps.release.set()
    for index, count in enumerate(cuts):
        if got[-1].kind != "final":
            driver = transport(site.ports[(index + 1) % 2])
            got += await some_of(driver.resumed(conversation, after=got[-1].id, turn=1, tenant=tenant), count)
    if got[-1].kind != "final":
        got += await all_of(transport(site.ports[0]).resumed(conversation, after=got[-1].id, turn=1, tenant=tenant))
    whole = await all_of(transport(site.ports[1]).resumed(conversation, turn=1, tenant=tenant))
    assert raw(got) == raw(whole)
    assert text_of(got) == seen(LONG_ANSWER, tenant)
    attempts = [one.data["attempt"] for one in got if one.kind == "step" and one.data["step"] == "generate_answer"]
    assert attempts == [1, 2]
    assert sum(one.turn.conversation == conversation for one in steps.called("generate_answer")) == 2


@on(EVENTS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=CUTS, tenant=TENANTS)
@example(cuts=[1, 2, 0, 1], tenant="gated")
async def test_a_connection_may_be_cut_anywhere(
    site: Site, transport: type[Driver], cuts: list[int], tenant: str
) -> None:
    await check_cuts(site, transport, cuts, tenant)


@pytest.mark.full
@on(EVENTS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=CUTS, tenant=TENANTS)
async def test_a_connection_may_be_cut_anywhere_often(
    site: Site, transport: type[Driver], cuts: list[int], tenant: str
) -> None:
    await check_cuts(site, transport, cuts, tenant)


# nobody else's ---------------------------------------------------------------------------------------


@on(EVENTS)
async def test_a_foreign_conversation_is_an_unknown_one(site: Site, transport: type[Driver]) -> None:
    """Another tenant is told what it is told of a conversation that never was."""
    driver, conversation = transport(site.ports[0]), site.front.new()
    await driver.whole("How long?", conversation=conversation)

    async def told(where: str, *, cancels: bool) -> tuple[int, str]:
        asking = (
            driver.cancel(where, tenant="open") if cancels else all_of(driver.resumed(where, turn=1, tenant="open"))
        )
        with pytest.raises(Refused) as refused:
            await asking
        return refused.value.status, refused.value.detail.replace(where, "…")

    for cancels in (False, True):
        foreign = await told(conversation, cancels=cancels)
        assert foreign == await told("conv-never", cancels=cancels)
        assert foreign[0] == 404
    with pytest.raises(Refused) as refused:
        await driver.whole("How long?", conversation=conversation, tenant="open")
    assert refused.value.status == 404


@on(TRANSCRIPTS)
async def test_a_transcript_is_read_by_its_tenant_alone(site: Site, transport: type[Driver]) -> None:
    driver, conversation = transport(site.ports[0]), site.front.new()
    await driver.whole("How long?", conversation=conversation)
    assert [turn["question"] for turn in (await driver.transcript(conversation))["turns"]] == ["How long?"]
    with pytest.raises(Refused) as refused:
        await driver.transcript(conversation, tenant="open")
    assert refused.value.status == 404


@on(EVENTS)
async def test_an_answer_is_judged(site: Site, transport: type[Driver]) -> None:
    """By its tenant alone, and only one that was given."""
    await migrate(Layout.of(site.front.settings).database_url(site.front.settings.records.database))
    driver, conversation = transport(site.ports[0]), site.front.new()
    await driver.whole("How long?", conversation=conversation)
    await transport(site.ports[1]).feedback(conversation, 1, -1, comment="too short", user="ana")
    kept = await asyncio.wait_for(site.steps.judged.get(), SECONDS)
    assert (kept.turn, kept.score, kept.comment, kept.user) == (1, -1, "too short", "ana")
    for turn, tenant in ((2, "default"), (1, "open")):
        with pytest.raises(Refused) as refused:
            await driver.feedback(conversation, turn, 1, tenant=tenant)
        assert refused.value.status == 404


# ended in the middle ---------------------------------------------------------------------------------


@on(EVENTS)
async def test_a_turn_is_cancelled(site: Site, transport: type[Driver]) -> None:
    """Through either gateway; its reader is told so."""
    conversation = site.front.new()
    reading = asyncio.create_task(all_of(transport(site.ports[0]).streamed("slow", conversation=conversation)))
    await running(site)
    assert await transport(site.ports[1]).cancel(conversation) == 1
    assert (await reading)[-1].data["verdict"] == "cancelled"
    with pytest.raises(Refused) as refused:
        await transport(site.ports[1]).cancel(conversation)
    assert refused.value.status == 409


@on(ANSWERS)
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_who_leaves_for_good_frees_the_turn(site: Site, transport: type[Driver], streams: bool) -> None:
    """With on_disconnect cancel, when they do not come back."""
    said = {"conversation": site.front.new(), "message_id": "m-1", "on_disconnect": "cancel"}
    driver = transport(site.ports[0])
    asking = all_of(driver.streamed("slow", **said)) if streams else driver.whole("slow", **said)
    task = asyncio.ensure_future(asking)
    await running(site)
    task.cancel()
    await asyncio.wait({task})
    assert (await settled(site, said["conversation"], "m-1")).verdict == "cancelled"


@on(ANSWERS)
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_who_leaves_before_anything_was_answered_frees_the_turn(
    site: Site, transport: type[Driver], streams: bool
) -> None:
    """Also while the message waits behind another and not even the answer's head is sent: it never comes to a model."""
    conversation = site.front.new()
    driver = transport(site.ports[0])
    first = asyncio.ensure_future(driver.whole("slow", conversation=conversation, message_id="m-1"))
    await running(site)
    said = {"conversation": conversation, "message_id": "m-2", "on_disconnect": "cancel"}
    asking = all_of(driver.streamed("How long?", **said)) if streams else driver.whole("How long?", **said)
    task = asyncio.ensure_future(asking)
    await waiting(site, conversation, "m-2")
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(site.front.settings.gateway.heartbeat_seconds / 2):
        await accepted_update(site.front.client, conversation, "cancel_turn")
    site.steps.release.set()
    assert (await first)["verdict"] == "pass"
    assert (await settled(site, conversation, "m-2")).verdict == "cancelled"
    assert len(site.steps.called("generate_answer")) == 1


@on(EVENTS)
async def test_who_comes_back_in_time_finds_the_turn(site: Site, transport: type[Driver]) -> None:
    """On whatever gateway: it is not cancelled."""
    said = {"conversation": site.front.new(), "message_id": "m-1", "on_disconnect": "cancel", "tenant": "open"}
    site.readers.wait_for()
    got = await some_of(transport(site.ports[0]).streamed("slow", **said), 4)
    await running(site)
    again = transport(site.ports[1]).resumed(said["conversation"], turn=1, tenant="open")
    async with aclosing(again):
        assert raw(await until(again, "token")) == raw(got)
        await site.readers.came(2)
        await site.readers.missed()
        site.steps.release.set()
        assert (await until(again, "final"))[-1].data["verdict"] == "pass"


@on(ANSWERS)
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
async def test_who_says_it_again_in_time_finds_the_turn(site: Site, transport: type[Driver], streams: bool) -> None:
    """On whatever gateway, whether or not they heard of the turn: it is not cancelled."""
    said = {"conversation": site.front.new(), "message_id": "m-1", "on_disconnect": "cancel"}
    site.readers.wait_for()
    first = asyncio.ensure_future(all_of(transport(site.ports[0]).streamed("slow", **said)))
    await running(site)
    first.cancel()
    await asyncio.wait({first})
    driver = transport(site.ports[1])
    again = asyncio.ensure_future(all_of(driver.streamed("slow", **said)) if streams else driver.whole("slow", **said))
    await site.readers.came(2)
    await site.readers.missed()
    site.steps.release.set()
    await again
    assert (await settled(site, said["conversation"], "m-1")).verdict == "pass"


@on(ANSWERS)
async def test_a_turn_goes_on_without_its_reader(site: Site, transport: type[Driver]) -> None:
    """With on_disconnect continue."""
    said = {"conversation": site.front.new(), "message_id": "m-1", "on_disconnect": "continue"}
    task = asyncio.ensure_future(all_of(transport(site.ports[0]).streamed("slow", **said)))
    await running(site)
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(2 * COME_BACK_SECONDS)  # of what does not happen there is no event
    site.steps.release.set()
    assert (await settled(site, said["conversation"], "m-1")).verdict == "pass"


@on(ANSWERS)
async def test_a_busy_conversation_refuses_or_is_interrupted(site: Site, transport: type[Driver]) -> None:
    driver, conversation = transport(site.ports[0]), site.front.new()
    slow = asyncio.create_task(driver.whole("slow", conversation=conversation))
    await running(site)
    with pytest.raises(Refused) as refused:
        await driver.whole("How long?", conversation=conversation, on_busy="reject")
    assert refused.value.status == 429
    instead = await driver.whole("How long?", conversation=conversation, on_busy="interrupt")
    assert ((await slow)["verdict"], instead["verdict"]) == ("cancelled", "pass")


@on(ANSWERS)
async def test_a_busy_conversation_lets_messages_wait(site: Site, transport: type[Driver]) -> None:
    driver, conversation = transport(site.ports[0]), site.front.new()
    slow = asyncio.create_task(driver.whole("slow", conversation=conversation))
    await running(site)
    queued = asyncio.create_task(driver.whole("How long?", conversation=conversation, on_busy="queue"))
    site.steps.release.set()
    assert [(await each)["turn"] for each in (slow, queued)] == [1, 2]
