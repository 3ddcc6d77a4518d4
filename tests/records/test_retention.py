"""One policy says how long records are kept; what is left is whole and can be shown to be."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext

from activities.stream_events import StreamEvents
from dialogue.keeping import RemovedRecords
from dialogue.messages import TurnKey
from knowledge_base.terms import terms
from records.archive import RunArchive
from records.audit import AuditLog
from records.audit_words import AuditWords
from records.content import ContentStore
from records.database import reading, writing
from records.payload_store import LocalPayloads
from records.retention import Retention
from records.tables import audit_tails, audit_words, contents, interaction_logs
from records.token_log import TokenLog
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import RetentionSettings
from tests.records.rows import a_row

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = 86_400.0


@pytest.fixture
async def token_log(tmp_path: Path) -> AsyncIterator[TokenLog]:
    log = SqliteTokenLog(tmp_path / "tokens.db")
    yield log
    await log.close()


def _at(days_ago: float) -> float:
    return NOW.timestamp() - days_ago * DAY


async def _apply(database: AsyncEngine, token_log: TokenLog, **days: float) -> RemovedRecords:
    archive = RunArchive(database, ContentStore(database))
    return await Retention(database, archive, token_log, RetentionSettings(**days)).apply(NOW)


async def test_by_default_the_audit_is_for_good(database: AsyncEngine, audit: AuditLog, token_log: TokenLog) -> None:
    """And so is the archive."""
    await audit.append(a_row(timestamp=_at(10_000)))
    assert await _apply(database, token_log) == RemovedRecords()
    assert await audit.count() == 1


async def test_the_beginning_of_each_chain_goes(database: AsyncEngine, audit: AuditLog, token_log: TokenLog) -> None:
    """With feedback and try records; the rest is verified from where it begins, as it grows and when it is gone."""
    store = ContentStore(database)
    old_try, young_try = await store.put("try", b"1"), await store.put("try", b"2")
    for turn, days in enumerate((9, 8, 7, 2, 1), start=1):
        record = young_try if days < 5 else old_try
        await audit.append(a_row(turn=turn, timestamp=_at(days), record=record))
        await audit.keep_feedback(conversation="conv-1", turn=turn, tenant="lantern", user="ann", score=1)
    await audit.append(a_row(conversation="conv-2", tenant="other", timestamp=_at(1)))
    async with writing(database) as connection:
        await connection.execute(contents.update().values(timestamp=datetime.fromtimestamp(_at(9), UTC)))
    assert await _apply(database, token_log, audit=5) == RemovedRecords(audit_rows=3, try_records=1)
    assert [row.turn for row in await audit.turns("conv-1", "lantern")] == [4, 5]
    assert [each.turn for each in await audit.feedback("conv-1", "lantern")] == [4, 5]
    assert await audit.verify() == []
    await audit.append(a_row(turn=6, timestamp=_at(0.5)))
    assert await audit.verify() == []
    assert await _apply(database, token_log, audit=0.1) == RemovedRecords(audit_rows=4, try_records=1)
    assert (await audit.count(), await audit.verify()) == (0, [])
    await audit.append(a_row(turn=7, timestamp=_at(0)))
    assert await audit.verify() == []


async def test_what_was_taken_by_hand_is_still_found(
    database: AsyncEngine, audit: AuditLog, token_log: TokenLog
) -> None:
    """Retention names where it stopped, and nothing behind that may be missing."""
    for turn, days in enumerate((9, 8, 2, 1), start=1):
        await audit.append(a_row(turn=turn, timestamp=_at(days)))
    await _apply(database, token_log, audit=5)
    async with writing(database) as connection:
        await connection.execute(delete(interaction_logs).where(interaction_logs.c.turn == 3))
    assert [(problem.kind, problem.position) for problem in await audit.verify()] == [("removed", 3)]
    async with reading(database) as connection:
        assert await connection.scalar(select(func.max(audit_tails.c.position))) == 2


async def test_the_words_of_a_removed_row_go_with_it(database: AsyncEngine, token_log: TokenLog) -> None:
    """The index names no row that is not there."""
    words = AuditWords(database, terms)
    audit = AuditLog(database, words=words)
    await audit.append(a_row(turn=1, timestamp=_at(9)))
    kept = await audit.append(a_row(turn=2, timestamp=_at(1)))
    assert (await _apply(database, token_log, audit=5)).audit_rows == 1
    async with reading(database) as connection:
        assert set(await connection.scalars(select(audit_words.c.row_id))) == {kept.id}


async def test_one_policy_covers_all_four(
    database: AsyncEngine, audit: AuditLog, token_log: TokenLog, tmp_path: Path
) -> None:
    """Token log, archive, audit and payload store: what is too old goes in one go, what is young stays. A store that
    refuses costs the rest nothing."""
    archive = RunArchive(database, ContentStore(database))
    for turn, days in enumerate((9, 1), start=1):
        await audit.append(a_row(turn=turn, timestamp=_at(days)))
        await StreamEvents(token_log).publish(TurnKey(conversation="c", turn=turn, tenant="t"), "step", {}, key="k")
        moment = datetime.fromtimestamp(_at(days), UTC)
        history = WorkflowHistory("conv-1", [HistoryEvent(event_id=days)])
        same = {"workflow_type": "ConversationWorkflow", "tenant": "lantern", "status": "completed"}
        await archive.archive(history, run_id=f"r{days}", started=moment, closed=moment, **same)
    store = LocalPayloads(tmp_path / "payloads")
    old, _ = await store.store(StorageDriverStoreContext(), [Payload(data=b"old"), Payload(data=b"young")])
    path = tmp_path / "payloads" / old.claim_data["sha256"][:2] / old.claim_data["sha256"]
    stuck = path.parent / "folder"  # it cannot be removed as a file is
    stuck.mkdir()
    long_ago = time.time() - 9 * DAY
    for each in (path, stuck):
        os.utime(each, (long_ago, long_ago))
    path.rename(tmp_path / "aside")
    policy = Retention(
        database, archive, token_log, RetentionSettings(token_log=1e-9, archive=5, audit=5, payloads=5), store
    )
    with capture_logs() as lines:
        assert await policy.apply(NOW) == RemovedRecords(streams=2, runs=1, audit_rows=1)
    assert [line["event"] for line in lines] == ["payloads not removed"]
    stuck.rmdir()
    (tmp_path / "aside").rename(path)
    assert await policy.apply(NOW) == RemovedRecords(payloads=1)
    assert [run.run_id for run in await archive.find("conv-1")] == ["r1"]
    assert [row.turn for row in await audit.turns("conv-1", "lantern")] == [2]


async def test_a_damaged_token_log_costs_the_rest_nothing(
    database: AsyncEngine, audit: AuditLog, token_log: TokenLog, tmp_path: Path
) -> None:
    """Nor does one that is away: runs and audit rows go, and a line says which streams do not."""
    (tmp_path / "tokens.db").write_bytes(b"no database" * 1000)
    archive = RunArchive(database, ContentStore(database))
    moment = datetime.fromtimestamp(_at(9), UTC)
    same = {"workflow_type": "ConversationWorkflow", "tenant": "lantern", "status": "completed"}
    await archive.archive(WorkflowHistory("conv-1", []), run_id="r9", started=moment, closed=moment, **same)
    await audit.append(a_row(turn=1, timestamp=_at(9)))
    with capture_logs() as lines:
        removed = await _apply(database, token_log, archive=5, audit=5)
    assert removed == RemovedRecords(streams=0, runs=1, audit_rows=1)
    assert [(line["event"], line["fault"]) for line in lines] == [("streams not removed", "token-log-unavailable")]


async def test_payloads_outside_the_histories_go_too(
    database: AsyncEngine, token_log: TokenLog, tmp_path: Path
) -> None:
    """Those that were stored so long ago, and no others."""
    store = LocalPayloads(tmp_path / "payloads")
    context = StorageDriverStoreContext()
    old, young = await store.store(context, [Payload(data=b"old"), Payload(data=b"young")])
    path = tmp_path / "payloads" / old.claim_data["sha256"][:2] / old.claim_data["sha256"]
    os.utime(path, (time.time() - 9 * DAY,) * 2)
    archive = RunArchive(database, ContentStore(database))
    days = RetentionSettings(payloads=5, archive=5)
    assert await Retention(database, archive, token_log, days, store).apply() == RemovedRecords(payloads=1)
    assert not path.exists()
    assert (await store.retrieve(StorageDriverRetrieveContext(), [young]))[0].data == b"young"


async def test_a_payload_that_is_stored_meanwhile_ends_no_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed under the name that it is written under, and has its own by now, is passed over."""
    folder = tmp_path / "payloads"
    store = LocalPayloads(folder)
    (old,) = await store.store(StorageDriverStoreContext(), [Payload(data=b"old")])
    path = folder / old.claim_data["sha256"][:2] / old.claim_data["sha256"]
    os.utime(path, (time.time() - 9 * DAY,) * 2)
    written = path.with_name("!written")
    written.touch()
    glob = Path.glob

    def listed(self: Path, pattern: str) -> list[Path]:
        found = sorted(glob(self, pattern))
        written.replace(path.with_name("stored"))
        return found

    monkeypatch.setattr(Path, "glob", listed)
    assert await store.trim(5 * DAY) == 1
    assert not path.exists()
    assert path.with_name("stored").exists()
