"""Closed runs are archived by a schedule before the server forgets them, and read alike wherever they are."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, Worker

from activities import keep_records
from activities.keep_records import KeepRecordsStep
from dialogue.faults import NoSuchHistory
from dialogue.keeping import KeptRecords
from records.archive import RunArchive
from records.plugin import parley_plugin
from records.retention import Retention
from records.token_log_sqlite import SqliteTokenLog
from replay.histories import live
from replay.scan import of_archive, scan
from settings.schema import RetentionSettings
from tests.support.archive import archive as archive
from tests.workflows.conftest import Site
from workers.schedule import ensure_schedule
from workflows.conversation_workflow import ConversationWorkflow
from workflows.keep_records_workflow import KeepRecordsWorkflow
from workflows.names import KEEP_RECORDS_SCHEDULE

A_YEAR = 365 * 24 * 60
"""Minutes between the runs of the schedule, so that no run of its own comes between those of a test."""


@asynccontextmanager
async def _keeping(client: Client, archive: RunArchive, folder: Path) -> AsyncIterator[str]:
    """The queue of a worker that keeps the records."""
    name = f"keeping-{uuid.uuid4().hex[:8]}"
    token_log = SqliteTokenLog(folder / "token_log.db")
    retention = Retention(archive._engine, archive, token_log, RetentionSettings())
    step = KeepRecordsStep(archive, retention)
    activities = [step.archive_runs, step.apply_retention]
    async with Worker(client, task_queue=name, workflows=[KeepRecordsWorkflow], activities=activities):
        yield name
    await token_log.close()


@pytest.fixture
async def queue(site: Site, archive: RunArchive, tmp_path: Path) -> AsyncIterator[str]:
    async with _keeping(site.client, archive, tmp_path) as name:
        yield name


async def _listed_as_closed(client: Client, workflow_id: str, count: int) -> None:
    """Temporal's index, which the sweep asks, follows a moment later."""
    query = f"WorkflowId = '{workflow_id}' AND ExecutionStatus != 'Running'"
    async with asyncio.timeout(20):
        while (await client.count_workflows(query)).count < count:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.05)


async def _kept(client: Client, count: int) -> KeptRecords:
    """The result of the schedule's run number ``count``."""
    handle = client.get_schedule_handle(KEEP_RECORDS_SCHEDULE)
    while len(actions := (await handle.describe()).info.recent_actions) < count:  # noqa: ASYNC110 (it has no event)
        await asyncio.sleep(0.05)
    started = actions[count - 1].action
    run = client.get_workflow_handle(
        started.workflow_id,
        run_id=started.first_execution_run_id,
        result_type=KeptRecords,  # type: ignore[union-attr]
    )
    return await run.result()


async def test_a_chain_outlives_the_server(site: Site, archive: RunArchive, queue: str) -> None:
    """Continued and closed runs are archived, running ones are not; forgotten by the server they replay as before."""
    conversation, open_one = site.new(), site.new()
    for number in range(3):
        await site.say(conversation, f"How long, {number}?", f"m{number}", start={"turns_per_run": 2})
    await site.say(open_one, "How long?", "m1")
    await site.conversations.close(conversation, "default")
    await site.client.get_workflow_handle(conversation).result()
    before = await live(site.client, conversation)
    assert len(before.runs) == 2
    try:
        await _listed_as_closed(site.client, conversation, 2)
        assert await ensure_schedule(site.client, queue, A_YEAR)
        first = await _kept(site.client, 1)
        assert first.archived.archived >= 2
        assert await archive.find(open_one) == []
        kept = await archive.find(conversation)
        assert [(run.status, run.tenant) for run in kept] == [("continued_as_new", "default"), ("completed", "default")]
        await _forgotten(site.client, conversation, [run.run_id for run in before.runs])
        with pytest.raises(NoSuchHistory):
            await live(site.client, conversation)
        after = await live(site.client, conversation, archive=archive)
        assert [run.events for run in after.runs] == [run.events for run in before.runs]
        alone = await live(site.client, conversation, kept[1].run_id, archive=archive)
        assert [run.run_id for run in alone.runs] == [kept[1].run_id]
        replayer = Replayer(workflows=[ConversationWorkflow], plugins=[parley_plugin()])
        for run in after.runs:
            await replayer.replay_workflow(run.history())
        done = await scan(of_archive(kept), site.client.data_converter, client=site.client, archive=archive)
        assert (done.counts["same"], done.events) == (2, sum(len(run.events) for run in before.runs))
        await _a_second_sweep(site, archive, open_one, first)
        await _made_once(site.client, queue)
    finally:
        await site.client.get_schedule_handle(KEEP_RECORDS_SCHEDULE).delete()


class DamagedHistories(Interceptor):
    """The server as it answers for runs whose histories it cannot read."""

    def __init__(self) -> None:
        self.of: set[str] = set()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 (the SDK's)
        damaged = self.of

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self,
                input: FetchWorkflowHistoryEventsInput,  # noqa: A002 (the SDK's)
            ) -> WorkflowHistoryEventAsyncIterator:
                if input.id in damaged:
                    raise RPCError("the history is damaged", RPCStatusCode.DATA_LOSS, b"")
                return self.next.fetch_workflow_history_events(input)

        return Outbound(next)


async def _terminated(client: Client, count: int) -> list[str]:
    """Conversations, closed one behind another, that no worker knew of."""
    ids = [f"closed-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    for each in ids:
        handle = await client.start_workflow("ConversationWorkflow", id=each, task_queue=f"nobody-{each}")
        await handle.terminate()
        await _listed_as_closed(client, each, 1)
    return ids


async def test_a_run_that_cannot_be_archived_stops_nothing(
    site: Site, archive: RunArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are archived and the retention is applied. The next sweep is handed some by name, and begins with the
    first one that it is not handed; what it can archive then, it does."""
    monkeypatch.setattr(keep_records, "AGAIN", 1)
    damaged = DamagedHistories()
    config = site.client.config()
    client = Client(**{**config, "interceptors": [*config["interceptors"], damaged]})
    async with _keeping(client, archive, tmp_path) as queue:
        first, second, third, fourth = await _terminated(client, 4)
        damaged.of |= {second, third}
        assert await ensure_schedule(client, queue, A_YEAR)
        try:
            async with asyncio.timeout(30):
                swept = (await _kept(client, 1)).archived
            assert [bool(await archive.find(each)) for each in (first, second, third, fourth)] == [
                True,
                False,
                False,
                True,
            ]
            assert [run.workflow_id for run in swept.failed] == [second]
            closed = (await client.get_workflow_handle(third).describe()).close_time
            assert closed is not None
            assert swept.until == closed.timestamp()
            damaged.of.clear()
            await client.get_schedule_handle(KEEP_RECORDS_SCHEDULE).trigger()
            swept = (await _kept(client, 2)).archived
            assert (swept.archived, swept.failed) == (2, ())
            assert swept.until > closed.timestamp()
            assert [run.status for each in (second, third) for run in await archive.find(each)] == ["terminated"] * 2
        finally:
            await client.get_schedule_handle(KEEP_RECORDS_SCHEDULE).delete()


async def _a_second_sweep(site: Site, archive: RunArchive, open_one: str, first: KeptRecords) -> None:
    """Begins where the last one ended, and archives what was closed since."""
    await site.conversations.close(open_one, "default")
    await site.client.get_workflow_handle(open_one).result()
    await _listed_as_closed(site.client, open_one, 1)
    await site.client.get_schedule_handle(KEEP_RECORDS_SCHEDULE).trigger()
    second = await _kept(site.client, 2)
    assert second.archived.archived >= 1
    assert second.archived.until > first.archived.until
    assert [run.tenant for run in await archive.find(open_one)] == ["default"]


async def _made_once(client: Client, queue: str) -> None:
    """Every worker asks for it; a change is taken over, and an operator's pause stays."""
    handle = client.get_schedule_handle(KEEP_RECORDS_SCHEDULE)
    await handle.pause(note="the database is being moved")
    assert not await ensure_schedule(client, queue, A_YEAR)
    assert not await ensure_schedule(client, queue, 30)
    described = await handle.describe()
    assert described.schedule.spec.intervals[0].every == timedelta(minutes=30)
    assert described.schedule.state.paused


async def _forgotten(client: Client, workflow_id: str, run_ids: list[str]) -> None:
    """As after the server's own retention."""
    for run_id in run_ids:
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            )
        )
    while [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")]:  # noqa: ASYNC110 (no event)
        await asyncio.sleep(0.05)
