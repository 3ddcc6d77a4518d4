"""What other processes do to the records while a test looks on.

Each prints a line for everything that it was told is kept.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from dialogue.faults import TokenLogFenced, TokenLogUnavailable
from records.audit import AuditLog
from records.database import connect_database, migrate
from records.token_log import TokenLog
from records.token_log_redis import RedisTokenLog
from records.token_log_sqlite import SqliteTokenLog
from tests.records.rows import a_row

STREAM = "conv-1/0001"


def log_at(place: str, **options: Any) -> TokenLog:
    """``place``: a file, or the URL of a Redis."""
    return RedisTokenLog(place, **options) if "://" in place else SqliteTokenLog(Path(place), **options)


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 read by the test


def wait_for_go() -> None:
    """So that several processes begin in the same moment."""
    say("ready")
    sys.stdin.readline()


async def migrate_database(url: str) -> None:
    wait_for_go()
    await migrate(url)
    say("migrated")


async def append_rows(url: str, tenant: str, conversation: str, count: str, at_once: str) -> None:
    engine = connect_database(url)
    audit = AuditLog(engine)
    wait_for_go()
    limit = asyncio.Semaphore(int(at_once))

    async def append(turn: int) -> None:
        async with limit:
            receipt = await audit.append(a_row(tenant=tenant, conversation=conversation, turn=turn))
        say(turn, receipt.id, receipt.hash, receipt.created)

    await asyncio.gather(*(append(turn) for turn in range(1, int(count) + 1)))
    await engine.dispose()


async def write_tokens(place: str, attempt: str, count: str) -> None:
    """Token ``n`` is the number ``n`` and the text ``n,``."""
    log = log_at(place)
    offset = len((await log.open_attempt(STREAM, 1, 0, int(attempt))).token_ids)
    try:
        while offset < int(count):
            await log.append_tokens(STREAM, 1, 0, int(attempt), offset, [offset], [("token", f"{offset},")])
            offset += 1
            say(offset)
    except TokenLogFenced:
        say("fenced")
    await log.close()


async def write_on_command(place: str) -> None:
    """One event for each line that comes in."""
    log = log_at(place)
    await log.publish(STREAM, "accepted", {})
    say("ready")
    for _ in iter(sys.stdin.readline, ""):
        await log.publish(STREAM, "step", {})
        say("written")
    await log.close()


async def fill_the_disk(path: str) -> None:
    """Publishes until this process may not let the file grow any more, as on a full disk."""
    log = SqliteTokenLog(Path(path), max_stream_bytes=2**40)
    await log.publish(STREAM, "accepted", {})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    written = 1
    data: dict[str, Any] = {"text": "x" * 10_000}
    try:
        for _ in range(1000):
            await log.publish(STREAM, "step", data)
            written += 1
    except TokenLogUnavailable as fault:
        say(written, fault.message)
    await log.close()


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
