"""The SQLite back end among real processes, and what its file may suffer."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import records.token_log_file
from dialogue.faults import TokenLogUnavailable
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


async def numbers_until(process: asyncio.subprocess.Process, enough: int) -> int:
    """The last number the child said, once it reached ``enough``."""
    assert process.stdout is not None
    number = 0
    while number < enough:
        number = int(await process.stdout.readline())
    return number


async def test_a_writer_killed_in_mid_append_leaves_the_log_whole(
    path: Path, log: SqliteTokenLog, child: Child
) -> None:
    """After kill -9 every acknowledged token is there, tokens and text agree, and the next attempt goes on."""
    process = await child("write_tokens", path, 1, 10_000_000)
    acknowledged = await numbers_until(process, 300)
    process.kill()
    await process.wait()
    resume = await log.open_attempt(STREAM, 1, 0, 2)
    count = len(resume.token_ids)
    assert count >= acknowledged
    assert resume.token_ids == tuple(range(count))
    assert resume.text == "".join(f"{number}," for number in range(count))
    assert await log.append_tokens(STREAM, 1, 0, 2, count, [count], [("token", f"{count},")]) == count + 1
    shown = [event async for event in log.follow(STREAM, until_kinds=["token"])]
    assert shown[0].id == 1
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def _stop_between_transactions(process: asyncio.subprocess.Process, path: Path) -> None:
    """Stopped inside one, it would hold the file's lock for as long as it sleeps, which is another test's matter."""
    while True:
        process.send_signal(signal.SIGSTOP)
        while "State:\tT" not in Path(f"/proc/{process.pid}/status").read_text():
            pass
        probe = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
        finally:
            probe.close()


async def test_a_zombie_process_is_fenced(path: Path, log: SqliteTokenLog, child: Child) -> None:
    """A writer that was stopped, replaced, and wakes up again writes nothing more."""
    process = await child("write_tokens", path, 1, 10_000_000)
    await numbers_until(process, 50)
    await asyncio.to_thread(_stop_between_transactions, process, path)
    resume = await log.open_attempt(STREAM, 1, 0, 2)
    await log.append_tokens(STREAM, 1, 0, 2, len(resume.token_ids), [-1 % 2**32], [("token", "mine")])
    process.send_signal(signal.SIGCONT)
    said, _ = await process.communicate()
    assert said.split()[-1] == b"fenced"
    assert await log.tokens(STREAM, 1, 0) == (*resume.token_ids, 2**32 - 1)
    assert (await log.read(STREAM, resume.events))[-1].data == {"text": "mine"}


async def test_a_follower_wakes_within_milliseconds_of_another_process(
    path: Path,
    log: SqliteTokenLog,
    child: Child,
    record_property: Callable[[str, object], None],
) -> None:
    """The time from another process's commit to the event in a follower's hands, measured and reported."""
    process = await child("write_on_command", path)
    assert await process.stdout.readline() == b"ready\n"
    events = log.follow(STREAM, 1)
    milliseconds: list[float] = []
    for _ in range(100):
        waiting = asyncio.create_task(anext(events))
        process.stdin.write(b"write\n")
        event = await waiting
        milliseconds.append((time.time() - event.at) * 1000)
    await events.aclose()
    median, worst = statistics.median(milliseconds), max(milliseconds)
    record_property("follow_latency_ms", {"median": median, "max": worst})
    print(f"follow latency: median {median:.1f} ms, max {worst:.1f} ms")  # noqa: T201 shown by pytest -rP
    assert median < 250  # a busy machine is slow; a follower that only polls by the second is wrong


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
