"""A workflow's runs and their histories, wherever they are: at the server, or in the archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from dialogue.faults import UnknownConversation
from records.archive import ArchivedRun, RunArchive

__all__ = ["FoundRun", "Histories"]


@dataclass(frozen=True, slots=True)
class FoundRun:
    """``place``: where its history is read. ``status`` is ``running`` for one that is not closed."""

    workflow_id: str
    run_id: str
    workflow_type: str
    status: str
    started: datetime
    closed: datetime | None
    place: Literal["server", "archive"]
    archived: ArchivedRun | None = None


class Histories:
    """``client`` None: without a server only the archive is looked into, ``archive`` None: only the server."""

    def __init__(self, client: Client | None, archive: RunArchive | None) -> None:
        self._client = client
        self._archive = archive

    async def find(self, workflow_id: str, run_id: str | None = None) -> list[FoundRun]:
        """Its runs, the oldest first; that one alone where ``run_id`` names it. What is kept in both places is read
        from the archive, which is there to stay.

        Raises UnknownConversation where neither place has it, and RPCError.
        """
        kept = await self._archive.find(workflow_id, run_id) if self._archive else []
        found = {run.run_id: _archived(run) for run in kept}
        if self._client is not None:
            query = f"WorkflowId = '{_quoted(workflow_id)}'"
            if run_id is not None:
                query += f" AND RunId = '{_quoted(run_id)}'"
            async for run in self._client.list_workflows(query):
                found.setdefault(run.run_id, _live(run))
            if not found:
                found |= await self._described(self._client, workflow_id, run_id)
        if not found:
            which = f"run {run_id} of {workflow_id}" if run_id else workflow_id
            raise UnknownConversation(f"{which} is neither at the server nor in the archive.")
        return sorted(found.values(), key=lambda run: (run.started, run.closed is None, run.closed))

    async def _described(self, client: Client, workflow_id: str, run_id: str | None) -> dict[str, FoundRun]:
        """One that began a moment ago is not listed yet."""
        try:
            run = await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                return {}
            raise
        return {run.run_id: _live(run)}

    async def history(self, run: FoundRun) -> WorkflowHistory:
        """Raises ContentMissing for an archived one that is damaged, RPCError for one that the server has lost."""
        if run.archived is not None and self._archive is not None:
            return await self._archive.history(run.archived)
        if self._client is None:
            raise UnknownConversation(f"run {run.run_id} is at the server, and there is none.")
        return await self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id).fetch_history()


def _archived(run: ArchivedRun) -> FoundRun:
    return FoundRun(run.workflow_id, run.run_id, run.workflow_type, run.status, run.started, run.closed, "archive", run)


def _live(run: WorkflowExecution) -> FoundRun:
    status = run.status.name.lower() if run.status else "unknown"
    return FoundRun(run.id, run.run_id, run.workflow_type, status, run.start_time, run.close_time, "server")


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")
