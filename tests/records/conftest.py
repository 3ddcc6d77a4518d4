"""Each database that the records support, and children that can be killed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from knowledge_base.terms import terms
from records.audit import AuditLog
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import connect_database, migrate
from records.tenant_keys import LocalKeys
from records.token_log import TokenLog
from tests.records.children import log_at
from tests.records.postgres import binaries, postgres
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, redis_server

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    programs = binaries()
    if programs is None:
        why = "PostgreSQL is not on this machine: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with postgres(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """Of a database without tables, on each kind of server."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    name = f"test_{uuid4().hex}"
    engine = create_async_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    yield f"{server}/{name}"
    async with engine.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    await engine.dispose()


@pytest.fixture
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    """With its tables."""
    await migrate(url)
    engine = connect_database(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def keys(database: AsyncEngine, tmp_path: Path) -> DataKeys:
    return DataKeys(database, LocalKeys(tmp_path / "site.keys", make=True))


@pytest.fixture
def words(database: AsyncEngine, keys: DataKeys) -> AuditWords:
    return AuditWords(database, terms, keys)


@pytest.fixture
def audit(database: AsyncEngine) -> AuditLog:
    return AuditLog(database)


class OpenLog(Protocol):
    """Opens one more handle on one and the same log, as another process would."""

    def __call__(self, **options: object) -> TokenLog: ...


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisServer]:
    """A Redis that is a cluster of one: it refuses whatever does not lie in one slot."""
    bus = str(free_port())  # else the server's port and 10,000, which may be somebody's
    alone = ("--cluster-require-full-coverage", "no")
    with redis_server("--cluster-enabled", "yes", "--cluster-port", bus, *alone) as server:
        # a cluster numbers no databases, and gives no answers before its slots are somebody's
        server.url = server.url.removesuffix("/0")
        with Redis.from_url(server.url) as redis:
            redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        server.wait_for("Cluster state changed: ok")
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty log is, on each kind of back end: a file, or a URL."""
    if request.param == "sqlite":
        return str(tmp_path / "tokens.db")
    url = request.getfixturevalue("cluster").url
    with Redis.from_url(url) as redis:
        redis.flushdb()
    return url


@pytest.fixture
async def open_log(place: str) -> AsyncIterator[OpenLog]:
    async with AsyncExitStack() as stack:

        def open_one(**options: object) -> TokenLog:
            log = log_at(place, **options)
            stack.push_async_callback(log.close)
            return log

        yield open_one


@pytest.fixture
def log(open_log: OpenLog) -> TokenLog:
    return open_log()


Child = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    """Starts a function of ``tests/records/children.py`` in a process; what is still alive at the end is killed."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: object) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.records.children", *map(str, arguments),
            cwd=REPOSITORY, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()
