"""What a Temporal Schedule runs: closed runs are archived before Temporal forgets them, and what is too old goes."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from dialogue.keeping import ArchivedRuns, ArchiveRuns, KeptRecords, RemovedRecords

__all__ = ["KeepRecordsWorkflow"]

OVERLAP = 3600.0
"""Seconds before the last sweep that are looked at again: what is searched for may be listed late."""
LONGEST = timedelta(hours=6)
HEARTBEAT_TIMEOUT = timedelta(seconds=10)
RETRY = RetryPolicy(maximum_interval=timedelta(minutes=5))


@workflow.defn(name="KeepRecordsWorkflow")
class KeepRecordsWorkflow:
    """The schedule hands each run the last one's result, so a sweep begins where the last one that went well ended."""

    @workflow.run
    async def run(self) -> KeptRecords:
        last = workflow.get_last_completion_result(KeptRecords)
        archived = await workflow.execute_activity(
            "archive_runs",
            ArchiveRuns(since=last.archived.until - OVERLAP, again=last.archived.failed) if last else ArchiveRuns(),
            result_type=ArchivedRuns,
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary="histories of closed runs",
        )
        # After them: what was closed so long ago that it goes was archived, or is older than the archive keeps.
        removed = await workflow.execute_activity(
            "apply_retention",
            result_type=RemovedRecords,
            start_to_close_timeout=LONGEST,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRY,
            summary="what is older than records.retention",
        )
        return KeptRecords(archived=archived, removed=removed)
