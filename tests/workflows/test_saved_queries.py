"""The queries that the documentation offers as saved views find what it says, on a real server."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from dialogue.messages import DialogueStart, ResolveReview, Say
from dialogue.turn import Reply
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
