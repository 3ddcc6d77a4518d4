"""A scan of what the server finds: the conversations of a query, or all of a time, once each."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from cli.main import run
from dialogue.messages import Say
from gateway.conversations import Conversations, new_conversation_id
from records.archive import ArchivedRun, RunArchive
from records.content import ContentStore
from records.database import connect_database
from replay.histories import live
from replay.scan import Found, of_archive, of_query
from tests.replay.kept import kept_site, records_of
from tests.support.scripted_steps import ScriptedSteps, scripted_worker


@dataclass
class _Held:
    """``since``: a moment before the two conversations of the tenant, which are over."""

    client: Client
    tenant: str
    since: str
    answered: str
    blocked: str

    async def found(self, query: str, count: int) -> list[Found]:
        """Temporal's index, which is asked, follows a moment later."""
        async with asyncio.timeout(30):
            while len(found := await of_query(self.client, query)) < count:  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0.05)
        return found


@pytest.fixture
async def held(temporal: WorkflowEnvironment) -> AsyncIterator[_Held]:
    steps = ScriptedSteps(f"scan-{uuid.uuid4().hex[:8]}")
    core = Conversations(temporal.client, task_queue=steps.queue, web_ui="http://127.0.0.1:8233")
    async with scripted_worker(temporal.client, steps):
        tenant, since = f"scan-{uuid.uuid4().hex[:8]}", datetime.now(UTC).isoformat()
        answered, blocked = new_conversation_id(), new_conversation_id()
        for name, text in ((answered, "How long?"), (blocked, "block this")):
            await core.say(name, Say(message_id="m1", text=text, tenant=tenant), fresh=True)
            await core.close(name, tenant)
            await temporal.client.get_workflow_handle(name).result()
        yield _Held(temporal.client, tenant, since, answered, blocked)


async def test_a_query_and_the_archive_name_the_same_runs(held: _Held, tmp_path: Path) -> None:
    """A verdict finds its conversation and no other; a run that is archived meanwhile is known by the same key."""
    of_the_tenant = f"Tenant = '{held.tenant}' AND ExecutionStatus = 'Completed'"
    both = await held.found(of_the_tenant, 2)
    blocked = await held.found(f"Verdict = 'block' AND {of_the_tenant}", 1)
    assert [each.workflow_id for each in blocked] == [held.blocked]
    assert {each.workflow_id for each in both} == {held.answered, held.blocked}
    await asyncio.to_thread(kept_site, tmp_path)
    kept = await _archived(held, records_of(tmp_path))
    assert sorted(each.key for each in of_archive(kept)) == sorted(each.key for each in both)


async def _archived(held: _Held, url: str) -> list[ArchivedRun]:
    database = connect_database(url)
    archive, kept = RunArchive(database, ContentStore(database)), list[ArchivedRun]()
    for name in (held.answered, held.blocked):
        (recorded,) = (await live(held.client, name)).runs
        then = datetime.fromtimestamp(recorded.started_at, UTC)
        of_it = {"run_id": recorded.run_id, "workflow_type": recorded.workflow_type, "tenant": held.tenant}
        await archive.archive(recorded.history(), **of_it, status="completed", started=then, closed=then)
        kept += await archive.find(name)
    await database.dispose()
    return kept


async def test_the_command_scans_what_a_query_finds_and_all_of_a_time(
    held: _Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that began since then, the archive's own among them, each once; a verdict's alone; what began later."""
    monkeypatch.setenv("PARLEY_CONFIG", str(await asyncio.to_thread(kept_site, tmp_path)))
    monkeypatch.setenv("PARLEY_TEMPORAL__ADDRESS", held.client.service_client.config.target_host)
    await _archived(held, records_of(tmp_path))
    of_the_tenant = f"Tenant = '{held.tenant}'"
    await held.found(f"{of_the_tenant} AND ExecutionStatus = 'Completed'", 2)

    async def scanned(*options: str) -> dict[str, Any]:
        command = ["replay", "scan", "--jobs", "1", "--json", *options]
        assert await asyncio.to_thread(run, command) == 0
        return json.loads(capsys.readouterr().out)

    both, since = {held.answered, held.blocked}, ("--since", held.since)
    for options, expected in (
        ((*since, "--query", of_the_tenant), both),
        ((*since, "--query", f"{of_the_tenant} AND Verdict = 'block'"), {held.blocked}),
        (since, both),
        (("--since", datetime.now(UTC).isoformat(), "--query", of_the_tenant), set[str]()),
    ):
        told = await scanned(*options)
        assert sorted(each["workflow_id"] for each in told["results"]) == sorted(expected)
        assert told["counts"] == {"same": len(expected), "differs": 0, "unchecked": 0}
