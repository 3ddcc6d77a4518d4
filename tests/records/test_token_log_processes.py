"""Each back end of the token log among real processes: killed, stopped and replaced, read from another."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from records.token_log import TokenLog
from tests.records.children import STREAM
from tests.records.conftest import Child


async def numbers_until(process: asyncio.subprocess.Process, enough: int) -> int:
    """The last number the child said, once it reached ``enough``."""
    assert process.stdout is not None
    number = 0
    while number < enough:
        number = int(await process.stdout.readline())
    return number


async def test_a_writer_killed_in_mid_append_leaves_the_log_whole(place: str, log: TokenLog, child: Child) -> None:
    """After kill -9 every acknowledged token is there, tokens and text agree, and the next attempt goes on."""
    process = await child("write_tokens", place, 1, 10_000_000)
    acknowledged = await numbers_until(process, 300)
    process.kill()
    await process.communicate()  # what is unread keeps wait() from ending
    resume = await log.open_attempt(STREAM, 1, 0, 2)
    count = len(resume.token_ids)
    assert count >= acknowledged
    assert resume.token_ids == tuple(range(count))
    assert resume.text == "".join(f"{number}," for number in range(count))
    assert await log.append_tokens(STREAM, 1, 0, 2, count, [count], [("token", f"{count},")]) == count + 1
    shown = [event async for event in log.follow(STREAM, until_kinds=["token"])]
    assert shown[0].id == 1
    if "://" not in place:
        with contextlib.closing(sqlite3.connect(place)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _stop_between_writes(process: asyncio.subprocess.Process, place: str) -> None:
    """Stopped inside a transaction, it would hold a file's lock for as long as it sleeps: another test's matter."""
    while True:
        process.send_signal(signal.SIGSTOP)
        while "State:\tT" not in Path(f"/proc/{process.pid}/status").read_text():
            pass
        if "://" in place:  # a server waits for nobody
            return
        probe = sqlite3.connect(place, timeout=0, isolation_level=None)
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
        finally:
            probe.close()


async def test_a_zombie_process_is_fenced(place: str, log: TokenLog, child: Child) -> None:
    """A writer that was stopped, replaced, and wakes up again writes nothing more."""
    process = await child("write_tokens", place, 1, 10_000_000)
    await numbers_until(process, 50)
    await asyncio.to_thread(_stop_between_writes, process, place)
    resume = await log.open_attempt(STREAM, 1, 0, 2)
    await log.append_tokens(STREAM, 1, 0, 2, len(resume.token_ids), [-1 % 2**32], [("token", "mine")])
    process.send_signal(signal.SIGCONT)
    said, _ = await process.communicate()
    assert said.split()[-1] == b"fenced"
    assert await log.tokens(STREAM, 1, 0) == (*resume.token_ids, 2**32 - 1)
    assert (await log.read(STREAM, resume.events))[-1].data == {"text": "mine"}


async def test_a_follower_wakes_within_milliseconds_of_another_process(
    place: str,
    log: TokenLog,
    child: Child,
    record_property: Callable[[str, object], None],
) -> None:
    """The time from another process's writing to the event in a follower's hands, measured and reported."""
    process = await child("write_on_command", place)
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
