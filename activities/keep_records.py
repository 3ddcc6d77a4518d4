"""Beside the six steps: closed runs are archived, and what is older than the settings keep it is removed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import structlog
from temporalio import activity
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from dialogue.keeping import ArchivedRuns, ArchiveRuns, RemovedRecords
from records.archive import RunArchive
from records.retention import Retention
from workflows import names

__all__ = ["KeepRecordsStep"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")

AT_ONCE = 100
"""Runs that the archive is asked about in one go."""


class KeepRecordsStep:
    def __init__(self, archive: RunArchive, retention: Retention) -> None:
        self._archive = archive
        self._retention = retention

    @activity.defn(name="archive_runs")
    async def archive_runs(self, request: ArchiveRuns) -> ArchivedRuns:
        """Raises RecordsUnavailable; what was archived before stays, so another attempt goes on from there."""
        client, until = activity.client(), time.time()
        seen = archived = 0
        async for batch in _batches(client.list_workflows(closed_since(request.since))):
            missing = await self._archive.missing([run.run_id for run in batch])
            for run in batch:
                seen += 1
                if run.run_id in missing:
                    archived += await self._archive_run(client, run)
        log.info("runs archived", seen=seen, archived=archived)
        return ArchivedRuns(until=until, seen=seen, archived=archived)

    async def _archive_run(self, client: Client, run: WorkflowExecution) -> bool:
        if run.close_time is None or run.status in (None, WorkflowExecutionStatus.RUNNING):
            return False
        try:
            history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            log.warning("run not archived: the server has forgotten it", run=run.run_id, of=run.id)
            return False
        await self._archive.archive(
            history,
            run_id=run.run_id,
            workflow_type=run.workflow_type,
            tenant=run.typed_search_attributes.get(names.TENANT) or "",
            status=run.status.name.lower(),
            started=run.start_time,
            closed=run.close_time,
        )
        return True

    @activity.defn(name="apply_retention")
    async def apply_retention(self) -> RemovedRecords:
        """Raises RecordsUnavailable and TokenLogUnavailable."""
        removed = await self._retention.apply()
        log.info("retention applied", **removed.model_dump())
        return removed


def closed_since(since: float | None) -> str:
    """The query for conversations' and dialogues' runs that are closed."""
    types = " OR ".join(f"WorkflowType = '{each}'" for each in (names.CONVERSATION_WORKFLOW, names.DIALOGUE_WORKFLOW))
    query = f"({types}) AND ExecutionStatus != 'Running'"
    if since is None:
        return query
    return f"{query} AND CloseTime >= '{datetime.fromtimestamp(since, UTC).isoformat(timespec='seconds')}'"


async def _batches(runs: AsyncIterator[WorkflowExecution]) -> AsyncIterator[list[WorkflowExecution]]:
    batch: list[WorkflowExecution] = []
    async for run in runs:
        batch.append(run)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
