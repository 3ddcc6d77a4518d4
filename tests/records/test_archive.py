"""Histories are kept byte for byte, found by workflow and run, and go with their time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowHistory

from dialogue.faults import ContentMissing
from records.archive import ArchivedRun, RunArchive
from records.content import ContentStore
from records.database import reading, writing
from records.tables import contents

HISTORIES = Path(__file__).resolve().parents[1] / "histories"
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def recorded(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json("conv-1", json.loads((HISTORIES / f"{name}.json").read_text()))


@pytest.fixture
def archive(database: AsyncEngine) -> RunArchive:
    return RunArchive(database, ContentStore(database))


async def _archive(archive: RunArchive, name: str, run_id: str, started: datetime) -> ArchivedRun:
    return await archive.archive(
        recorded(name),
        run_id=run_id,
        workflow_type="ConversationWorkflow",
        tenant="lantern",
        status="completed",
        started=started,
        closed=started + HOUR,
    )


async def test_a_chain_of_runs_comes_back_as_it_was(archive: RunArchive) -> None:
    """In its order, event by event; archived twice it is there once."""
    second = await _archive(archive, "continued-as-new.2", "r2", NOON + HOUR)
    first = await _archive(archive, "continued-as-new.1", "r1", NOON)
    assert await _archive(archive, "continued-as-new.1", "r1", NOON) == first
    assert await archive.find("conv-1") == [first, second]
    assert await archive.find("conv-1", "r2") == [second]
    assert await archive.find("conv-2") == []
    assert await archive.missing(["r1", "r2", "r3"]) == {"r3"}
    kept = await archive.history(first)
    assert kept.events == recorded("continued-as-new.1").events
    assert (kept.workflow_id, first.events) == ("conv-1", len(kept.events))


async def test_runs_are_found_by_when_they_began(archive: RunArchive) -> None:
    """From a moment on and before another, the newest first."""
    one = await _archive(archive, "normal", "r1", NOON)
    two = await _archive(archive, "refused", "r2", NOON + HOUR)
    assert await archive.begun() == [two, one]
    assert await archive.begun(NOON + HOUR) == [two]
    assert await archive.begun(NOON, NOON + HOUR) == [one]
    assert await archive.begun(NOON + 2 * HOUR) == []


async def test_a_damaged_history_is_told(archive: RunArchive, database: AsyncEngine) -> None:
    """By its digest."""
    run = await _archive(archive, "normal", "r1", NOON)
    async with writing(database) as connection:
        await connection.execute(update(contents).values(body=b"not what it was"))
    with pytest.raises(ContentMissing, match=run.digest):
        await archive.history(run)


async def test_what_is_old_goes_with_its_history(archive: RunArchive, database: AsyncEngine) -> None:
    """A history that a younger run shares stays, and so does every other content."""
    await _archive(archive, "normal", "old", NOON - 9 * HOUR)
    await _archive(archive, "refused", "old-shared", NOON - 9 * HOUR)
    young = await _archive(archive, "refused", "young", NOON)
    await ContentStore(database).put("policy", {"a": 1})
    assert await archive.remove(NOON) == 2
    assert await archive.find("conv-1") == [young]
    assert (await archive.history(young)).events == recorded("refused").events
    async with reading(database) as connection:
        assert await connection.scalar(select(func.count()).select_from(contents)) == 2


async def test_what_no_database_takes_in_an_id_is_replaced(archive: RunArchive) -> None:
    """Temporal takes NUL there; the run is kept, and found by the id that it had."""
    history = WorkflowHistory("a\0b", recorded("normal").events)
    same = {"workflow_type": "ConversationWorkflow", "status": "terminated", "started": NOON, "closed": NOON + HOUR}
    run = await archive.archive(history, run_id="r1", tenant="t\0", **same)
    assert (run.workflow_id, run.tenant) == ("a\ufffdb", "t\ufffd")
    assert await archive.find("a\0b") == await archive.find("a\ufffdb") == [run]
    assert (await archive.history(run)).events == history.events
