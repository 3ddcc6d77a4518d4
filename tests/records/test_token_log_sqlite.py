"""What the SQLite back end's file may suffer."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

import records.token_log_file
from dialogue.faults import TokenLogUnavailable
from records.token_log import StreamEvent
from records.token_log_file import TokenLogFile
from records.token_log_sqlite import SqliteTokenLog
from tests.records.children import STREAM
from tests.records.conftest import Child


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.db"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SqliteTokenLog]:
    log = SqliteTokenLog(path)
    yield log
    await log.close()


async def test_a_full_disk_costs_the_stream_and_not_the_log(path: Path, log: SqliteTokenLog, child: Child) -> None:
    """Where the file cannot grow the writer gets TokenLogUnavailable; what was acknowledged stays readable."""
    process = await child("fill_the_disk", path)
    said, _ = await process.communicate()
    written, message = said.decode().split(maxsplit=1)
    assert "cannot be used: " in message
    assert str(path) in message
    events = await log.read(STREAM)
    assert [event.id for event in events] == list(range(1, int(written) + 1))
    assert await log.publish(STREAM, "final", {}) == int(written) + 1


async def test_a_locked_file_is_waited_for_and_then_unavailable(
    path: Path, log: SqliteTokenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that holds the lock too long costs one write; the next one goes on."""
    monkeypatch.setattr(records.token_log_file, "BUSY_SECONDS", 0.05)
    await log.publish(STREAM, "accepted", {})
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(TokenLogUnavailable, match="database is locked"):
        await log.publish(STREAM, "step", {})
    assert len(await log.read(STREAM)) == 1
    holder.execute("COMMIT")
    holder.close()
    assert await log.publish(STREAM, "step", {}) == 2


async def test_a_file_that_stays_locked_is_waited_for_once(
    path: Path, log: SqliteTokenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is written at once, and all that comes after, costs together what one write may wait."""
    monkeypatch.setattr(records.token_log_file, "BUSY_SECONDS", 0.5)
    await log.publish(STREAM, "accepted", {})
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    lost = await asyncio.gather(*(log.publish(STREAM, "step", {}) for _ in range(20)), return_exceptions=True)
    for _ in range(20):
        with pytest.raises(TokenLogUnavailable, match=f"fuser {path}"):
            await log.append_tokens(STREAM, 1, 0, 1, 0, [1], [("token", "a")])
    assert time.monotonic() - started < 10 * 0.5  # 40 of them; a busy machine is slow
    assert [type(each) for each in lost] == [TokenLogUnavailable] * 20
    assert len(await log.read(STREAM)) == 1
    holder.execute("COMMIT")
    assert await log.publish(STREAM, "step", {}) == 2
    holder.execute("BEGIN IMMEDIATE")  # and after it worked again, it is waited for again
    waits: asyncio.Queue[float] = asyncio.Queue()
    loop, wait_at_most = asyncio.get_running_loop(), TokenLogFile.wait_at_most

    def told(file: TokenLogFile, seconds: float) -> None:
        wait_at_most(file, seconds)
        loop.call_soon_threadsafe(waits.put_nowait, seconds)

    monkeypatch.setattr(TokenLogFile, "wait_at_most", told)
    monkeypatch.setattr(records.token_log_file, "BUSY_SECONDS", 20.0)
    writing = asyncio.create_task(log.publish(STREAM, "step", {}))
    assert await waits.get() == 20.0
    holder.execute("COMMIT")
    assert await writing == 3
    holder.close()


async def test_a_damaged_file_is_named_with_the_way_out(path: Path, log: SqliteTokenLog) -> None:
    """A file that is no database is named; deleting it is enough."""
    path.write_bytes(b"this was never a database" * 100)  # noqa: ASYNC240 a moment
    with pytest.raises(TokenLogUnavailable, match=r"tokens\.db cannot be used: file is not a database\. .*deleted"):
        await log.publish(STREAM, "accepted", {})
    with pytest.raises(TokenLogUnavailable, match="not a database"):
        async for _ in log.follow(STREAM):
            pass
    path.unlink()  # noqa: ASYNC240 a moment
    assert await log.publish(STREAM, "accepted", {}) == 1


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A log in a folder that is not there is unavailable, and usable once it is."""
    log = SqliteTokenLog(tmp_path / "later" / "tokens.db")
    with pytest.raises(TokenLogUnavailable, match=r"later/tokens\.db cannot be used: unable to open"):
        await log.publish(STREAM, "accepted", {})
    (tmp_path / "later").mkdir()
    assert await log.publish(STREAM, "accepted", {}) == 1
    await log.close()


async def test_a_log_that_was_never_used_makes_no_file(path: Path) -> None:
    """Building and closing a log touches nothing."""
    await SqliteTokenLog(path).close()
    assert not path.exists()  # noqa: ASYNC240 a moment


async def test_followers_are_read_for_together(
    path: Path, log: SqliteTokenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them reads for itself, as long as the file can be read; and while nothing is written, nobody reads."""
    asked: list[int] = []
    read_all = TokenLogFile.read_all

    def counted(file: TokenLogFile, after: Mapping[str, int], limit: int) -> dict[str, list[StreamEvent]]:
        asked.append(len(after))
        return read_all(file, after, limit)

    monkeypatch.setattr(TokenLogFile, "read_all", counted)
    monkeypatch.setattr(TokenLogFile, "read", None)
    streams = [f"conv-{number}/0001" for number in range(20)]
    writer = SqliteTokenLog(path)

    told: asyncio.Queue[str] = asyncio.Queue()

    async def kinds(stream: str) -> list[str]:
        found: list[str] = []
        async for event in log.follow(stream):
            found.append(event.kind)
            told.put_nowait(event.kind)
        return found

    following = [asyncio.create_task(kinds(stream)) for stream in streams]
    for stream in streams:
        await writer.publish(stream, "accepted", {})
    assert {await asyncio.wait_for(told.get(), 20) for _ in streams} == {"accepted"}
    await writer.publish(streams[0], "step", {})  # all wait for more by now, and are read for with it
    assert await asyncio.wait_for(told.get(), 20) == "step"
    quiet = len(asked)
    await asyncio.sleep(0.2)  # of what does not happen there is no event
    assert len(asked) == quiet
    for stream in streams:
        await writer.publish(stream, "final", {})
    ended = await asyncio.wait_for(asyncio.gather(*following), 20)
    assert ended == [["accepted", "step", "final"], *[["accepted", "final"]] * 19]
    await writer.close()
