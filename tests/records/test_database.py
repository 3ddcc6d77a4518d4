from __future__ import annotations

import asyncio
import io
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect, select, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

import records.database
from dialogue.faults import InvalidRequest, RecordsUnavailable
from records.api_keys import ApiKeys
from records.archive import RunArchive
from records.audit import AuditLog
from records.content import ContentStore
from records.database import connect_database, head_revision, migrate, migration_config, reading, writing
from records.tables import NEVER, contents, metadata
from tests.records.conftest import Child
from tests.records.rows import a_row


async def test_migrations_make_exactly_the_tables_of_the_models(database: AsyncEngine) -> None:
    """Alembic finds nothing to do between a migrated database and the tables in Python."""
    async with writing(database) as connection:
        await connection.run_sync(lambda sync: command.check(migration_config(sync)))
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert set(names) == {*metadata.tables, "alembic_version"}


def test_migrations_print_where_printing_goes_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic keeps the stdout it was imported under, which a test runner or a supervisor may have closed since."""
    now = io.StringIO()
    monkeypatch.setattr(sys, "stdout", now)
    with create_engine("sqlite://").connect() as connection:
        assert migration_config(connection).stdout is now


async def test_migrations_can_be_taken_back(database: AsyncEngine, url: str) -> None:
    """Downgrading to nothing and migrating again ends where it began."""
    async with writing(database) as connection:
        await connection.run_sync(lambda sync: command.downgrade(migration_config(sync), "base"))
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["alembic_version"]
    await migrate(url)
    assert await AuditLog(database).count() == 0


async def test_several_processes_migrate_one_new_database(url: str, child: Child) -> None:
    """Processes that start in the same moment all find the tables made, once."""
    children = [await child("migrate_database", url) for _ in range(3)]
    for process in children:
        assert await process.stdout.readline() == b"ready\n"
    for process in children:
        process.stdin.write(b"go\n")
    said = await asyncio.gather(*(process.communicate() for process in children))
    assert [out for out, _ in said] == [b"migrated\n"] * 3


async def test_migrating_again_keeps_what_is_there(database: AsyncEngine, url: str) -> None:
    """A second start changes no row."""
    await AuditLog(database).append(a_row())
    await migrate(url)
    assert await AuditLog(database).count() == 1


async def test_only_tables_of_this_version_are_left_alone(
    database: AsyncEngine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alembic is asked where the revision is any other, and where there is none."""
    asked: list[str] = []
    upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda *given: asked.append("upgrade") or upgrade(*given))
    await migrate(url)
    assert asked == []
    for statement in ("UPDATE alembic_version SET version_num = '9999'", "DROP TABLE alembic_version"):
        async with writing(database) as connection:
            await connection.execute(text(statement))
        with pytest.raises((RecordsUnavailable, DBAPIError)):
            await migrate(url)
    assert asked == ["upgrade", "upgrade"]


async def test_the_newest_migration_is_known_by_its_file(database: AsyncEngine) -> None:
    """As Alembic finds it by what the files hold."""
    async with reading(database) as connection:
        config = await connection.run_sync(migration_config)
    assert ScriptDirectory.from_config(config).get_heads() == [head_revision()]


async def test_the_database_of_a_newer_version_is_left_alone(database: AsyncEngine, url: str) -> None:
    """A revision that this version does not know is refused with the way out."""
    async with writing(database) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RecordsUnavailable, match="A newer Parley made its tables"):
        await migrate(url)


async def test_moments_are_kept_in_utc(database: AsyncEngine) -> None:
    """Whatever zone a datetime came with, it comes back as the same moment in UTC; a naive one is refused."""
    moment = datetime(2026, 11, 24, 9, 30, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    row = {"digest": "d", "kind": "k", "body": b"", "timestamp": moment}
    async with writing(database) as connection:
        await connection.execute(contents.insert().values(row))
    async with reading(database) as connection:
        kept = await connection.scalar(select(contents.c.timestamp))
    assert kept == moment
    assert kept.tzinfo is UTC
    with pytest.raises(StatementError, match="a naive datetime says no moment"):
        async with writing(database) as connection:
            await connection.execute(contents.insert().values({**row, "timestamp": datetime(2026, 1, 1)}))  # noqa: DTZ001


async def test_a_moment_that_was_damaged_does_not_end_the_query(database: AsyncEngine) -> None:
    """SQLite holds any text there. An API key whose end is such a one is over."""
    if database.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no text that is no moment")
    keys = ApiKeys(database)
    secrets = {name: (await keys.create("lantern", name=name, days=1))[0] for name in ("whole", "damaged")}
    async with writing(database) as connection:
        await connection.exec_driver_sql("UPDATE api_keys SET expires = '2099-13-01' WHERE name = 'damaged'")
    assert {key.name: key.expires == NEVER for key in await keys.known()} == {"whole": False, "damaged": True}
    assert await keys.find(secrets["whole"]) is not None
    assert await keys.find(secrets["damaged"]) is None


async def test_a_text_that_postgresql_does_not_take_is_the_callers(database: AsyncEngine) -> None:
    """Nobody is sent to look whether the server runs, and nothing is attempted again."""
    query = select(contents).where(contents.c.kind == "a\0b")
    if database.dialect.name == "sqlite":
        async with reading(database) as connection:
            assert (await connection.execute(query)).all() == []
        return
    with pytest.raises(InvalidRequest, match=r"NUL \(U\+0000\)\. Send it without"):
        async with reading(database) as connection:
            await connection.execute(query)


async def test_a_reader_sees_one_moment(database: AsyncEngine) -> None:
    """What is committed while a reading transaction is open is not seen in it."""
    audit = AuditLog(database)
    await audit.append(a_row(turn=1))
    async with reading(database) as connection:
        before = await connection.scalar(text("SELECT count(*) FROM interaction_logs"))
        await audit.append(a_row(turn=2))
        after = await connection.scalar(text("SELECT count(*) FROM interaction_logs"))
    assert (before, after) == (1, 1)
    assert await audit.count() == 2


async def test_missing_tables_are_named_with_the_way_out(url: str) -> None:
    """A database that was never migrated is one clear line."""
    engine = connect_database(url)
    if engine.dialect.name == "sqlite":
        sqlite3.connect(engine.url.database).close()
    with pytest.raises(RecordsUnavailable, match="they make the database's tables") as caught:
        await AuditLog(engine).count()
    assert "\n" not in caught.value.message
    await engine.dispose()


async def _step_back(database: AsyncEngine, revision: str) -> None:
    async with writing(database) as connection:
        await connection.run_sync(lambda sync: command.downgrade(migration_config(sync), revision))


async def test_tables_of_an_older_version_are_named_with_the_way_out(database: AsyncEngine) -> None:
    """Of a migration that is not done yet: a whole table, or a column, that is not there."""
    await _step_back(database, "0003")
    with pytest.raises(RecordsUnavailable, match="they make the database's tables"):
        await RunArchive(database, ContentStore(database)).find("conv-1")
    await _step_back(database, "0002")
    with pytest.raises(RecordsUnavailable, match="Start the workers once: they migrate them") as caught:
        await AuditLog(database).turns("conv-1", "lantern")
    assert "\n" not in caught.value.message


async def test_a_database_in_the_middle_of_a_migration_is_one_clear_line(database: AsyncEngine) -> None:
    """Tables without a column that this version reads or writes: a fault with the way out, and no driver's error."""
    async with writing(database) as connection:
        await connection.execute(text("ALTER TABLE feedback DROP COLUMN data_key"))
    audit, given = AuditLog(database), {"conversation": "conv-1", "turn": 1, "tenant": "lantern", "user": "ann"}
    for ask in (audit.feedback("conv-1", "lantern"), audit.keep_feedback(**given, score=1)):
        with pytest.raises(RecordsUnavailable, match=r"data_key.* half migrated\. Start the workers once") as caught:
            await ask
        assert "\n" not in caught.value.message


async def test_tables_that_something_else_migrated_in_part_are_one_clear_line(database: AsyncEngine, url: str) -> None:
    """The revision says that they are older than they are: nothing is done to them."""
    async with writing(database) as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))
    with pytest.raises(RecordsUnavailable, match=r"migrated in part, and not by Parley\. Put back a copy") as caught:
        await migrate(url)
    assert "\n" not in caught.value.message


async def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    """SQLite in a folder that is not there names the file and what to check."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'nowhere' / 'records.db'}"
    with pytest.raises(
        RecordsUnavailable, match=r"nowhere/records\.db cannot be used: unable to open .* folder exists"
    ):
        await migrate(url)


async def test_a_locked_file_is_waited_for_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that finds SQLite locked for too long raises RecordsUnavailable, and can go on afterwards."""
    monkeypatch.setattr(records.database, "BUSY_SECONDS", 0.1)
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    audit = AuditLog(engine)
    holder = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordsUnavailable, match="database is locked"):
        await audit.append(a_row())
    holder.execute("COMMIT")
    holder.close()
    assert (await audit.append(a_row())).created
    await engine.dispose()


async def test_all_who_wait_for_a_lock_are_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More writers than connections: none waits longer than for a connection and then for the lock."""
    monkeypatch.setattr(records.database, "BUSY_SECONDS", 0.5)
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    audit = AuditLog(engine)
    holder = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    told = await asyncio.gather(*(audit.append(a_row(turn=turn)) for turn in range(1, 31)), return_exceptions=True)
    assert time.monotonic() - started < 10 * 0.5  # a busy machine is slow; by itself the pool waits 30 s
    assert [type(each) for each in told] == [RecordsUnavailable] * 30
    assert all("lock" in str(each) and "\n" not in str(each) for each in told)
    holder.close()
    assert (await audit.append(a_row(turn=1))).created
    await engine.dispose()


async def test_a_lock_on_postgresql_is_waited_for_and_then_named(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on SQLite; by itself it would be waited for until the step's time is up."""
    monkeypatch.setattr(records.database, "BUSY_SECONDS", 0.2)
    url = f"{postgres_url}/postgres"
    await migrate(url)
    engine = connect_database(url)
    audit = AuditLog(engine)
    await audit.append(a_row(turn=1))
    async with writing(engine) as holder:
        await holder.execute(text("SELECT 1 FROM audit_heads FOR UPDATE"))
        with pytest.raises(RecordsUnavailable, match=r"lock timeout\. Another session holds a lock"):
            await audit.append(a_row(turn=2))
    assert (await audit.append(a_row(turn=2))).created
    async with writing(engine) as migrating:  # a migration holds off those that only read, too
        await migrating.execute(text("LOCK TABLE interaction_logs IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(RecordsUnavailable, match=r"lock timeout\. Another session holds a lock"):
            await audit.count()
    await engine.dispose()


async def test_a_full_database_is_named_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """SQLITE_FULL: one clear line; the row that found no room is written by the next attempt, once."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    audit, most = AuditLog(engine), 60

    @event.listens_for(engine.sync_engine, "begin", insert=True)
    def bounded(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={most}")

    async def append(turn: int) -> bool:
        return (await audit.append(a_row(turn=turn, output_text="x" * 4000))).created

    async def fill() -> None:
        for turn in range(1, 200):
            await append(turn)

    with pytest.raises(RecordsUnavailable, match=r"database or disk is full\. Make room on its disk") as caught:
        await fill()
    assert "\n" not in caught.value.message
    most, written = 1_000_000, await audit.count()
    assert written
    assert await append(written + 1)
    assert await audit.count() == written + 1
    assert not await audit.verify()
    await engine.dispose()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A file that is no database says what to put back."""
    (tmp_path / "records.db").write_bytes(b"this was never a database" * 100)
    with pytest.raises(RecordsUnavailable, match=r"not a database\. It is damaged: put back a copy of it"):
        await migrate(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")


async def test_a_server_that_does_not_answer_is_named_without_its_password(unused_tcp_port: int) -> None:
    """The message says where PostgreSQL should be, and never the password."""
    engine = connect_database(f"postgresql+asyncpg://ann:hidden@127.0.0.1:{unused_tcp_port}/records")
    with pytest.raises(RecordsUnavailable, match="Check that PostgreSQL runs there") as caught:
        await AuditLog(engine).append(a_row())
    assert f"127.0.0.1:{unused_tcp_port}/records" in caught.value.message
    assert "hidden" not in caught.value.message
    await engine.dispose()


async def test_a_missing_database_is_named(postgres_url: str) -> None:
    """A PostgreSQL without the database says which is missing."""
    with pytest.raises(RecordsUnavailable, match='database "nowhere" does not exist'):
        await migrate(f"{postgres_url}/nowhere")


@pytest.mark.parametrize("url", ["nonsense", "sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "nosuch://x/y"])
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    """What cannot keep anything is refused before anything is tried."""
    with pytest.raises(RecordsUnavailable, match=r"^records\.database: "):
        connect_database(url)
