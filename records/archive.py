"""Histories of closed runs, kept beyond Temporal's own retention: as the server gave them, by digest.

A history is kept byte for byte as its events are: where payloads are encrypted, what is kept is ciphertext too. The
table says which run it is of; ``replay.histories.live`` reads a chain wherever its runs are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory

from records.content import ContentStore
from records.database import reading, writing
from records.statements import insert
from records.storable import storable
from records.tables import archived_runs, contents

__all__ = ["ArchivedRun", "RunArchive"]

KIND = "history"
runs = archived_runs.c


@dataclass(frozen=True, slots=True)
class ArchivedRun:
    """``digest`` is the SHA-256 of the run's history, as a protobuf ``temporal.api.history.v1.History``. What Temporal
    takes in an id and no database does (NUL) is U+FFFD here."""

    workflow_id: str
    run_id: str
    workflow_type: str
    tenant: str
    status: str
    started: datetime
    closed: datetime
    events: int
    digest: str

    @classmethod
    def of_columns(cls, row: Mapping[Any, Any]) -> ArchivedRun:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


class RunArchive:
    """Every method may raise RecordsUnavailable."""

    def __init__(self, engine: AsyncEngine, contents: ContentStore) -> None:
        self._engine = engine
        self._contents = contents

    async def archive(
        self,
        history: WorkflowHistory,
        *,
        run_id: str,
        workflow_type: str,
        tenant: str,
        status: str,
        started: datetime,
        closed: datetime,
    ) -> ArchivedRun:
        """Keeps the history of a run that is closed. Keeping it again changes nothing."""
        body = History(events=history.events).SerializeToString(deterministic=True)
        digest = await self._contents.put(KIND, body)
        run = ArchivedRun(
            storable(history.workflow_id),
            run_id,
            workflow_type,
            storable(tenant),
            status,
            started,
            closed,
            len(history.events),
            digest,
        )
        async with writing(self._engine) as connection:
            await connection.execute(insert(connection, archived_runs).values(asdict(run)).on_conflict_do_nothing())
        return run

    async def missing(self, run_ids: Collection[str]) -> set[str]:
        """Which of these runs are not kept."""
        async with reading(self._engine) as connection:
            kept = await connection.scalars(select(runs.run_id).where(runs.run_id.in_(run_ids)))
            return set(run_ids) - set(kept)

    async def find(self, workflow_id: str, run_id: str | None = None) -> list[ArchivedRun]:
        """The runs of that workflow, the oldest first: a conversation's chain is one story. One run, where named."""
        query = (
            select(archived_runs).where(runs.workflow_id == storable(workflow_id)).order_by(runs.started, runs.closed)
        )
        if run_id is not None:
            query = query.where(runs.run_id == run_id)
        async with reading(self._engine) as connection:
            return [ArchivedRun.of_columns(row) for row in (await connection.execute(query)).mappings()]

    async def begun(self, since: datetime | None = None, until: datetime | None = None) -> list[ArchivedRun]:
        """The runs that began at or after ``since`` and before ``until``, the newest first."""
        query = select(archived_runs).order_by(runs.started.desc(), runs.run_id)
        if since is not None:
            query = query.where(runs.started >= since)
        if until is not None:
            query = query.where(runs.started < until)
        async with reading(self._engine) as connection:
            return [ArchivedRun.of_columns(row) for row in (await connection.execute(query)).mappings()]

    async def history(self, run: ArchivedRun) -> WorkflowHistory:
        """As the server gave it. Raises ContentMissing where it is gone or damaged."""
        kept = History.FromString(await self._contents.get(run.digest))
        return WorkflowHistory(run.workflow_id, list(kept.events))

    async def remove(self, before: datetime) -> int:
        """Removes the runs that were closed before then, and their histories. Gives how many."""
        old = select(runs.digest).where(runs.closed < before)
        kept = select(runs.digest).where(runs.closed >= before)
        async with writing(self._engine) as connection:
            await connection.execute(
                delete(contents).where(
                    contents.c.kind == KIND, contents.c.digest.in_(old), contents.c.digest.not_in(kept)
                )
            )
            return (await connection.execute(delete(archived_runs).where(runs.closed < before))).rowcount
