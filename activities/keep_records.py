"""Beside the six steps: closed runs are archived, and what is older than the settings keep it is removed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from temporalio import activity
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from dialogue.faults import ParleyFault, RecordsUnavailable
from dialogue.keeping import ArchivedRuns, ArchiveRuns, ClosedRun, RemovedRecords
from records.archive import RunArchive
from records.batches import in_batches
from records.retention import Retention
from workflows import names

__all__ = ["KeepRecordsStep"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")

AT_ONCE = 100
"""Runs that the archive is asked about in one go."""
AGAIN = 100
"""Runs that a sweep hands to the next one by name. If more fail, it is no single run's fault."""


class KeepRecordsStep:
    def __init__(self, archive: RunArchive, retention: Retention) -> None:
        self._archive = archive
        self._retention = retention

    @activity.defn(name="archive_runs")
    async def archive_runs(self, request: ArchiveRuns) -> ArchivedRuns:
        """A run that cannot be archived stops no other, nor the retention: it is logged, named and left for the next
        sweep. Raises RecordsUnavailable; what was archived before stays, so another attempt goes on from there."""
        client, until = activity.client(), time.time()
        sweep = _Sweep(client, self._archive)
        for run in request.again:
            await sweep.archive_again(run)
        async for batch in in_batches(client.list_workflows(closed_since(request.since)), AT_ONCE):
            await sweep.archive(batch)
        done = sweep.done(until)
        log.info("runs archived", seen=done.seen, archived=done.archived, failed=len(sweep.failed))
        return done

    @activity.defn(name="apply_retention")
    async def apply_retention(self) -> RemovedRecords:
        """Raises RecordsUnavailable."""
        removed = await self._retention.apply()
        log.info("retention applied", **removed.model_dump())
        return removed


class _Sweep:
    """``failed``: when each was closed, in seconds since 1970; 0 where the server did not say."""

    def __init__(self, client: Client, archive: RunArchive) -> None:
        self._client = client
        self._archive = archive
        self._seen = self._archived = 0
        self._again: set[str] = set()
        self.failed: dict[ClosedRun, float] = {}

    async def archive(self, batch: list[WorkflowExecution]) -> None:
        """Those that are not kept."""
        missing = await self._archive.missing([run.run_id for run in batch])
        for run in batch:
            self._seen += 1
            if run.run_id in missing - self._again:
                async with self._left(run.id, run.run_id, run.close_time):
                    await self._keep(run)

    async def archive_again(self, run: ClosedRun) -> None:
        async with self._left(run.workflow_id, run.run_id):
            await self.archive([await self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id).describe()])
        self._again.add(run.run_id)

    async def _keep(self, run: WorkflowExecution) -> None:
        if run.close_time is None or run.status in (None, WorkflowExecutionStatus.RUNNING):
            return
        await self._archive.archive(
            await self._client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history(),
            run_id=run.run_id,
            workflow_type=run.workflow_type,
            tenant=run.typed_search_attributes.get(names.TENANT) or "",
            status=run.status.name.lower(),
            started=run.start_time,
            closed=run.close_time,
        )
        self._archived += 1

    @asynccontextmanager
    async def _left(self, workflow_id: str, run_id: str, closed: datetime | None = None) -> AsyncGenerator[None]:
        """Whatever one run is made of, the others are archived. Raises RecordsUnavailable: that is no run's fault."""
        try:
            yield
        except RecordsUnavailable:
            raise
        except Exception as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                log.warning("run not archived: the server has forgotten it", run=run_id, of=workflow_id)
                return
            # A driver's own words may quote what was to be written.
            reason = error.message if isinstance(error, ParleyFault | RPCError) else type(error).__name__
            log.error("run not archived: the next sweep tries again", run=run_id, of=workflow_id, reason=reason)
            self.failed[ClosedRun(workflow_id=workflow_id, run_id=run_id)] = closed.timestamp() if closed else 0.0

    def done(self, until: float) -> ArchivedRuns:
        """Those that failed, the oldest first; from the first one that is not named on, all is seen again."""
        failed = sorted(self.failed, key=self.failed.__getitem__)
        named, rest = failed[:AGAIN], failed[AGAIN:]
        until = min([until, *(self.failed[run] for run in rest)])
        return ArchivedRuns(until=until, seen=self._seen, archived=self._archived, failed=tuple(named))


def closed_since(since: float | None) -> str:
    """The query for conversations' and dialogues' runs that are closed."""
    types = " OR ".join(f"WorkflowType = '{each}'" for each in (names.CONVERSATION_WORKFLOW, names.DIALOGUE_WORKFLOW))
    query = f"({types}) AND ExecutionStatus != 'Running'"
    if since is None:
        return query
    return f"{query} AND CloseTime >= '{datetime.fromtimestamp(since, UTC).isoformat(timespec='seconds')}'"
