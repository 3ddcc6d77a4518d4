"""The queries that the documentation offers as saved views find what it says, on a real server."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from dialogue.faults import UnknownConversation
from dialogue.messages import DialogueStart, ResolveReview, Say
from dialogue.turn import Reply
from gateway.conversations import Pending
from tests.workflows.conftest import Site
from workflows import names

ROOT = Path(__file__).resolve().parents[2]
ENGLISH, CHINESE = ROOT / "docs" / "operations.md", ROOT / "docs" / "zh-CN" / "operations.md"
_ROW = re.compile(r"^\| `((?:State|Verdict|Tenant|Snapshot|Model|Fault) = [^`]+)` \|", re.MULTILINE)
HOUR = timedelta(hours=1)

SAID = {
    "waits": "doubtful",
    "waited": "doubtful",
    "blocked": "block this",
    "failed": "corrupt weights",
    "answered": "How long?",
    "running": "slow",
}
"""The conversations that are held, by what becomes of them."""

FOUND = {
    "State = 'waiting' AND WaitingSince < '<an hour ago>'": {"waits"},
    "State = 'waiting' AND Tenant = 'acme'": {"waits"},
    "State = 'running'": {"running"},
    "Verdict = 'block' AND Tenant = 'acme'": {"blocked"},
    "Model = '<name>@<first 12 of its digest>' AND Snapshot = '<id>'": {"waits", "waited", "blocked", "answered"},
    "Fault = 'engine-lost'": {"failed"},
    "Verdict = 'failed'": {"failed"},
    "Verdict = 'block'": {"blocked"},
    "Tenant = 'acme' AND Intent = 'return_item'": {"waits", "waited", "blocked", "failed", "answered"},
    "Snapshot = '<id>'": {"waits", "waited", "blocked", "failed", "answered"},
    "Model = '<name>@<first 12 of its digest>'": {"waits", "waited", "blocked", "answered"},
}
"""Which of them each documented query finds."""


def queries(page: Path) -> list[str]:
    return _ROW.findall(page.read_text("utf-8"))


def test_both_languages_offer_the_same_queries() -> None:
    """And none of them is without its test here."""
    assert queries(ENGLISH) == queries(CHINESE)
    assert set(queries(ENGLISH)) == set(FOUND)


async def _say(site: Site, conversation: str, text: str) -> Reply:
    reply = await site.conversations.say(conversation, Say(message_id="m1", text=text, tenant="acme"), fresh=True)
    assert isinstance(reply, Reply)
    return reply


async def _found(client: Client, query: str, held: dict[str, str]) -> set[str]:
    among = " OR ".join(f"WorkflowId = '{id_}'" for id_ in held.values())
    name_of = {id_: name for name, id_ in held.items()}
    return {name_of[each.id] async for each in client.list_workflows(f"({query}) AND ({among})")}


async def test_each_query_finds_what_the_page_says(site: Site) -> None:
    """In conversations that wait, waited, were blocked, failed, were answered and run."""
    held = {name: site.new() for name in SAID}
    saying = asyncio.create_task(_say(site, held["running"], SAID["running"]))
    for name in ("waits", "waited", "blocked", "failed", "answered"):
        await _say(site, held[name], SAID[name])
    await site.conversations.resolve_review(
        held["waited"], ResolveReview(turn=1, decision="approve", by="ann", tenant="acme")
    )
    await site.steps.running.wait()
    for query, expected in FOUND.items():
        asked = (
            query.replace("<an hour ago>", f"{datetime.now(UTC) + HOUR:%FT%TZ}")
            .replace("<name>@<first 12 of its digest>", "scripted@dddddddddddd")
            .replace("<id>", "5" * 64)
            .replace("engine-lost", "model-corrupt")
        )
        async with asyncio.timeout(30):  # what is searched is a moment behind
            while (found := await _found(site.client, asked, held)) != expected:  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0.1)
        assert found == expected, query
    early = f"State = 'waiting' AND WaitingSince < '{datetime.now(UTC) - HOUR:%FT%TZ}'"
    assert await _found(site.client, early, held) == set(), "nobody waits for an hour yet"
    site.steps.release.set()
    await saying


@pytest.mark.parametrize("kind", ["conversation", "dialogue"])
async def test_the_state_follows_the_turn(site: Site, kind: str) -> None:
    """Running, waiting since when, idle and closed; a fault stays to be found."""
    workflow_id = site.new()
    handle = site.client.get_workflow_handle(workflow_id)

    async def state() -> tuple[str | None, bool, str | None]:
        found = (await handle.describe()).typed_search_attributes
        return found.get(names.STATE), found.get(names.WAITING_SINCE) is not None, found.get(names.FAULT)

    decision = ResolveReview(turn=1, decision="approve", by="ann")
    if kind == "dialogue":
        await site.conversations.ask(DialogueStart(question="doubtful"), dialogue=workflow_id)
        assert await state() == ("waiting", True, None)
        await site.conversations.resolve_review(workflow_id, decision)
        await handle.result()
        assert await state() == ("closed", False, None)
        return
    await site.say(workflow_id, "doubtful", "m1")
    assert await state() == ("waiting", True, None)
    await site.conversations.resolve_review(workflow_id, decision)
    await site.say(workflow_id, "corrupt weights", "m2")
    assert await state() == ("idle", False, "model-corrupt")
    await site.say(workflow_id, "How long?", "m3")
    assert await state() == ("idle", False, "model-corrupt")
    await site.conversations.close(workflow_id, "default")
    await handle.result()
    assert await state() == ("closed", False, "model-corrupt")


async def _told(handle: WorkflowHandle[Any, Any]) -> tuple[str | None, str | None]:
    found = (await handle.describe()).typed_search_attributes
    return found.get(names.TENANT), found.get(names.STATE)


async def test_a_conversation_that_an_sdk_opens_is_found_before_its_first_message(site: Site) -> None:
    """Whose it is and that it rests, in one event; the gateway's start tells the first, its message the other."""
    opened, said = site.new(), site.new()
    handle = await site.client.start_workflow(
        "ConversationWorkflow", {"tenant": "acme"}, id=opened, task_queue=site.steps.queue
    )
    await handle.query("transcript", {"tenant": "acme"})  # answered once the run has begun
    assert await _told(handle) == ("acme", "idle")
    saying = asyncio.create_task(_say(site, opened, "slow"))
    await site.steps.running.wait()
    assert await _told(handle) == ("acme", "running")
    site.steps.release.set()
    await saying
    await site.conversations.close(opened, "acme")
    await handle.result()
    assert await _told(handle) == ("acme", "closed")
    kinds = Counter([event.event_type async for event in handle.fetch_history_events()])
    patches = kinds[EventType.EVENT_TYPE_MARKER_RECORDED]  # each is told by an attribute of Temporal's own too
    told = kinds[EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES] - patches
    assert told == len(("whose, and idle", "running", "idle, with what the turn was", "closed"))
    await site.say(said, "How long?", "m1")
    events = str([event async for event in site.client.get_workflow_handle(said).fetch_history_events()])
    assert "start-shown" not in events


async def test_a_question_that_an_sdk_asks_is_its_tenants_while_it_runs(site: Site) -> None:
    """The gateway shows it to its tenant from the first step on."""
    handle = await site.client.start_workflow(
        "DialogueWorkflow", {"question": "slow", "tenant": "acme"}, id=site.new(), task_queue=site.steps.queue
    )
    await site.steps.running.wait()
    assert await _told(handle) == ("acme", "running")
    assert isinstance(await site.conversations.dialogue(handle.id, "acme"), Pending)
    with pytest.raises(UnknownConversation):
        await site.conversations.dialogue(handle.id, "other")
    site.steps.release.set()
    await handle.result()


async def test_a_run_that_is_not_opened_does_not_rest(site: Site) -> None:
    """Its id was another tenant's: it is over, and told as its own starter's."""
    conversation = site.new()
    await site.say(conversation, "How long?", "m1")
    await site.conversations.close(conversation, "default")
    handle = await site.client.start_workflow(
        "ConversationWorkflow", {"tenant": "other"}, id=conversation, task_queue=site.steps.queue
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert await _told(handle) == ("other", "closed")
