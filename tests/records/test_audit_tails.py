"""Where the audit begins once its oldest rows went: what the retention took is told from what anybody else did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import RecordsConflict
from records import audit as audit_module
from records import audit_checkpoints
from records.archive import RunArchive
from records.audit import AuditLog
from records.audit_chain import Head
from records.audit_tails import keep_tail, kept_tails, sign_tail
from records.content import ContentStore
from records.database import reading, writing
from records.retention import Retention
from records.signing import Signer
from records.tables import audit_tails, interaction_logs
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import RetentionSettings, Settings
from tests.records.rows import a_row

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ROWS = 5
logs = interaction_logs.c


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(Settings(data=tmp_path))


@pytest.fixture
async def signed(database: AsyncEngine, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    """Five rows, a day between each, the last of today; every second one signed."""
    for module in (audit_module, audit_checkpoints):
        monkeypatch.setattr(module, "EVERY", 2)
    audit = AuditLog(database, signer=signer)
    for turn in range(1, ROWS + 1):
        await audit.append(a_row(turn=turn, timestamp=NOW.timestamp() - (ROWS - turn) * 86_400))
    return audit


@pytest.fixture
async def retention(database: AsyncEngine, signer: Signer, tmp_path: Path) -> AsyncIterator[Retention]:
    """Keeps two rows of the five."""
    token_log = SqliteTokenLog(tmp_path / "tokens.db")
    archive = RunArchive(database, ContentStore(database))
    yield Retention(database, archive, token_log, RetentionSettings(audit=1.5), signer=signer)
    await token_log.close()


async def found(audit: AuditLog) -> set[tuple[str, int | None]]:
    return {(problem.kind, problem.position) for problem in await audit.verify()}


async def hash_at(database: AsyncEngine, position: int) -> str:
    async with reading(database) as connection:
        return (await connection.execute(select(logs.hash).where(logs.position == position))).scalar_one()


async def take_away(database: AsyncEngine, last: int, *, tenant: str = "lantern") -> None:
    """The rows up to ``last``, as the retention of a Parley that did not sign, or somebody else, removes them."""
    tail = {"tenant": tenant, "position": last, "hash": await hash_at(database, last), "timestamp": NOW}
    async with writing(database) as connection:
        await connection.execute(delete(interaction_logs).where(logs.position <= last))
        await connection.execute(delete(audit_tails))
        await connection.execute(audit_tails.insert().values(tail))


async def positions(database: AsyncEngine) -> Sequence[int]:
    async with reading(database) as connection:
        return (await connection.scalars(select(logs.position).order_by(logs.position))).all()


async def test_what_the_retention_removed_is_not_missed(
    signed: AuditLog, retention: Retention, database: AsyncEngine, signer: Signer
) -> None:
    """It signs where the rest begins, each time; under another key, or moved to another place, that does not hold."""
    assert (await retention.apply(NOW)).audit_rows == 3
    assert await signed.verify() == []
    await signed.append(a_row(turn=6, timestamp=NOW.timestamp()))
    later = datetime.fromtimestamp(NOW.timestamp() + 86_400, UTC)
    assert (await retention.apply(later)).audit_rows == 1
    assert await signed.verify() == []
    assert (await AuditLog(database).verify()) == []
    assert (await sign_tail(database, signer, "lantern")) is None
    hash_ = await hash_at(database, 5)
    async with writing(database) as connection:
        await connection.execute(delete(interaction_logs).where(logs.position == 5))
        await connection.execute(update(audit_tails).values(position=5, hash=hash_))
    assert ("removed", 5) in await found(signed)


async def test_rows_that_somebody_else_took_away_are_missed(signed: AuditLog, database: AsyncEngine) -> None:
    """Whoever may write rows says that the retention took them: some, or all up to the head."""
    await take_away(database, 4)
    problems = await signed.verify()
    assert [(problem.kind, problem.position) for problem in problems] == [("removed", 4), ("removed", 1)]
    assert "no signature of this site's says that the retention did so" in problems[0].message
    await take_away(database, 5)
    assert {("removed", 5), ("removed", 1)} <= await found(signed)


async def test_the_retention_signs_for_nothing_that_is_not_whole(
    signed: AuditLog, retention: Retention, database: AsyncEngine
) -> None:
    """Rows taken away before, or made older than they are: what is due goes, and who looks is told."""
    await take_away(database, 1)
    assert (await retention.apply(NOW)).audit_rows == 2
    assert await positions(database) == [4, 5]
    assert ("removed", 3) in await found(signed)


async def test_rows_that_are_made_older_are_not_signed_away(
    signed: AuditLog, retention: Retention, database: AsyncEngine
) -> None:
    """Else the retention would take them for whoever may write rows."""
    async with writing(database) as connection:
        await connection.execute(update(interaction_logs).values(timestamp=datetime(2026, 1, 1, tzinfo=UTC)))
    assert (await retention.apply(NOW)).audit_rows == ROWS
    assert ("removed", ROWS) in await found(signed)


async def test_a_row_put_in_where_rows_were_removed_moves_nothing(
    signed: AuditLog, retention: Retention, database: AsyncEngine
) -> None:
    """The next run leaves it, and where the rows begin, and it is named."""
    async with reading(database) as connection:
        row = dict((await connection.execute(select(interaction_logs).where(logs.position == 2))).mappings().one())
    await retention.apply(NOW)
    async with writing(database) as connection:
        await connection.execute(interaction_logs.insert().values(row))
    assert (await retention.apply(NOW)).audit_rows == 0
    assert await found(signed) == {("inserted", 2)}


async def test_of_two_retentions_at_once_one_removes(signed: AuditLog, database: AsyncEngine, signer: Signer) -> None:
    """The one that comes second finds another beginning than it looked at, and leaves it."""
    ends = [Head(position, await hash_at(database, position)) for position in (3, 2)]
    async with writing(database) as connection:
        done = [await keep_tail(connection, "lantern", end, signer, before=None) for end in ends]
        tail = (await kept_tails(connection, "lantern"))["lantern"]
        await keep_tail(connection, "lantern", Head(4, await hash_at(database, 4)), signer, before=tail)
        done.append(await keep_tail(connection, "lantern", ends[1], signer, before=tail))
        assert (await kept_tails(connection))["lantern"].position == 4
    assert done == [True, False, False]


async def test_what_was_removed_before_is_signed_on_somebodys_word(
    signed: AuditLog, retention: Retention, database: AsyncEngine, signer: Signer
) -> None:
    """Once; from then on the retention signs again. What does not go on behind it is not signed."""
    await take_away(database, 2)
    seen = await sign_tail(database, signer, "lantern", sign=False)
    assert seen is not None
    assert (seen.position, seen.signature) == (2, None)
    assert await found(signed) == {("removed", 2), ("removed", 1)}
    assert await sign_tail(database, signer, "lantern") == seen
    assert await signed.verify() == []
    assert (await retention.apply(NOW)).audit_rows == 1
    assert await signed.verify() == []
    async with writing(database) as connection:
        await connection.execute(delete(interaction_logs).where(logs.position == 4))
        await connection.execute(update(audit_tails).values(signature=None))
    with pytest.raises(RecordsConflict, match="the rows of tenant lantern do not go on behind position 3"):
        await sign_tail(database, signer, "lantern")
