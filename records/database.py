"""The database of the records: an asynchronous engine from a URL, transactions on it, and its migrations.

SQLite (one machine) and PostgreSQL behave alike behind :func:`reading` and :func:`writing`: a reader sees one moment,
a writer's transaction is the only one of its kind on SQLite and locks rows on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, NullPool, event, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dialogue.faults import InvalidRequest, RecordsUnavailable
from records.sqlite_file import enter_wal, way_out

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["connect_database", "migrate", "reading", "writing"]

BUSY_SECONDS = 4.0
"""How long a transaction waits for a connection, and then for another process's lock. Both together fit into the
shortest time that an activity has (10 s), so that it ends with a fault that says why, and not as a bare timeout.
Temporal attempts it again."""
_MIGRATION_SECONDS = 30.0
_MIGRATION_LOCK = 0x7061726C6579  # any number, but always the same one
_OTHER_TABLES = ("42P01", "42703", "42P07", "42701")  # a table or column that is not there, or is there already
_NOT_ITS_TEXT = "22021"
_WAITING = "what waits is then written by itself."
_POSTGRESQL_WAYS_OUT = {
    "53100": f"Make room on its disk: {_WAITING}",
    "55P03": "Another session holds a lock: let it finish, or end it (pg_locks names it).",
}
_MIGRATIONS = Path(__file__).parent / "migrations"


def connect_database(url: str, *, wait_seconds: float | None = None, pooled: bool = True) -> AsyncEngine:
    """An engine for ``sqlite+aiosqlite:///path`` or ``postgresql+asyncpg://user@host/name``. Connects when used.

    ``wait_seconds`` (by default ``BUSY_SECONDS``) bounds the wait for a connection, and that for a lock. Not
    ``pooled``: each transaction has a connection of its own, so that the engine need not be disposed of. Raises
    RecordsUnavailable for a URL that names no such database.
    """
    try:
        parsed, wait = make_url(url), BUSY_SECONDS if wait_seconds is None else wait_seconds
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed, wait, pooled)
        return _postgresql_engine(parsed, wait, pooled)
    except (ArgumentError, NoSuchModuleError, SQLAlchemyError) as error:
        raise RecordsUnavailable(
            f"records.database: not a URL of a database ({_reason(error)}). "
            "Use sqlite+aiosqlite:///path or postgresql+asyncpg://user@host/name."
        ) from error
    except ModuleNotFoundError as error:
        raise RecordsUnavailable(
            f"records.database: {error.name} is not installed. Run `pip install 'parley[postgres]'`."
        ) from error


def _pool(wait_seconds: float, pooled: bool) -> dict[str, Any]:
    return {"pool_timeout": wait_seconds} if pooled else {"poolclass": NullPool}


def _postgresql_engine(url: URL, wait_seconds: float, pooled: bool) -> AsyncEngine:
    pool = _pool(wait_seconds, pooled)
    engine = create_async_engine(url, pool_pre_ping=pooled, connect_args={"timeout": wait_seconds}, **pool)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # By itself PostgreSQL waits for a lock for ever; who only reads waits for those of a migration. Within the
        # transaction, because a pooler between us and the server may refuse it as a parameter of the connection.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{wait_seconds * 1000:.0f}ms'")

    return engine


def _sqlite_engine(url: URL, wait_seconds: float, pooled: bool) -> AsyncEngine:
    if url.database in (None, "", ":memory:"):
        raise RecordsUnavailable("records.database: SQLite in memory keeps nothing. Use sqlite+aiosqlite:///path.")
    engine = create_async_engine(url, connect_args={"timeout": wait_seconds}, **_pool(wait_seconds, pooled))

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transactions: "begin" below does
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")  # a returned answer has its row even after a power cut
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writing one can fail at once, without waiting.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that writes; committed at its end. Raises RecordsUnavailable, and InvalidRequest for a text that
    the database does not take; IntegrityError passes."""
    async with _available(engine.url), engine.execution_options(writes=True).begin() as connection:
        yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that sees one moment of the database. Raises RecordsUnavailable, and InvalidRequest for a text that
    the database does not take."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    async with _available(engine.url), engine.begin() as connection:
        yield connection


@asynccontextmanager
async def _available(url: URL) -> AsyncIterator[None]:
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) not in _OTHER_TABLES:
            raise
        raise _unavailable(url, error) from error
    except (DBAPIError, PoolTimeout, OSError) as error:
        if getattr(getattr(error, "orig", None), "sqlstate", None) == _NOT_ITS_TEXT:
            raise InvalidRequest("text: PostgreSQL takes none with NUL (U+0000). Send it without.") from error
        raise _unavailable(url, error) from error
    except Exception as error:
        # What asyncpg says while it connects comes unwrapped; importing it to name it would make it no extra.
        if type(error).__module__.partition(".")[0] != "asyncpg":
            raise
        raise _unavailable(url, error) from error


def _unavailable(url: URL, error: BaseException) -> RecordsUnavailable:
    shown = url.render_as_string(hide_password=True)
    return RecordsUnavailable(f"records.database: {shown} cannot be used: {_reason(error)}. {_what_to_do(url, error)}")


def _what_to_do(url: URL, error: BaseException) -> str:
    reason = _reason(error)
    if re.search(r"already exists|duplicate column", reason):
        return "It was migrated in part, and not by Parley. Put back a copy from before that, then start a worker."
    if re.search(r"no such (table|column)|has no column|does not exist", reason):
        if "column" in reason:
            return "Its tables are another version's, or half migrated. Start the workers once: they migrate them."
        return "Start the workers once: they make the database's tables."
    if isinstance(error, PoolTimeout):
        return "All its connections are waiting: look what holds its lock or slows it down."
    if url.get_backend_name() == "sqlite":
        damaged = "It is damaged: put back a copy of it."
        return way_out(_driver_error(error), url.database or "", meanwhile=_WAITING, damaged=damaged)
    state = getattr(getattr(error, "orig", None), "sqlstate", "")
    return _POSTGRESQL_WAYS_OUT.get(state, "Check that PostgreSQL runs there and lets this user in.")


def _reason(error: BaseException) -> str:
    """The driver's own words, on one line."""
    error = _driver_error(error)
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _driver_error(error: BaseException) -> BaseException:
    """What the driver raised, out of what SQLAlchemy makes of it."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


async def migrate(url: str) -> None:
    """Brings the tables to what this version needs; safe when several processes do so at once.

    Raises RecordsUnavailable.
    """
    engine = connect_database(url, wait_seconds=_MIGRATION_SECONDS)
    try:
        if engine.dialect.name == "sqlite":
            await _prepare_sqlite(engine.url)
        async with writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


async def _prepare_sqlite(url: URL) -> None:
    try:
        await asyncio.to_thread(enter_wal, Path(url.database or ""), patience=_MIGRATION_SECONDS)
    except sqlite3.Error as error:
        raise _unavailable(url, error) from error


def migration_config(connection: Connection) -> Any:
    """Alembic's configuration for the migrations shipped beside this file."""
    from alembic.config import Config

    # Alembic's default is the stdout of the moment it was imported, which may be closed by now.
    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head_revision() -> str:
    """The newest revision, by the names of the migrations: ``0001_what.py``, counted up."""
    return max(file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _is_at_head(connection: Connection) -> bool:
    """Whether the tables are this version's already. Alembic would say so too, after half a second of imports."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()) == [head_revision()]


def _upgrade(connection: Connection) -> None:
    if _is_at_head(connection):
        return
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(migration_config(connection), "head")
    except CommandError as error:
        raise RecordsUnavailable(
            f"records.database: {connection.engine.url.render_as_string(hide_password=True)} cannot be migrated: "
            f"{_reason(error)}. A newer Parley made its tables: use that one, or another database."
        ) from error
