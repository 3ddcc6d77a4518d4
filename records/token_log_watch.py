"""Wakes the followers of a token log file when any process has written to it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from records.token_log_file import TokenLogFile

__all__ = ["Watcher"]

QUICK_SECONDS = 0.003
"""Between two looks while tokens flow: what a reader waits at most, beside the reading itself."""
SLOW_SECONDS = 0.012
QUIET_AFTER_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Follower:
    stream: str
    loop: asyncio.AbstractEventLoop
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    last_id: int | None = None


class Watcher:
    """One thread for all followers of a process; it sleeps while there are none.

    SQLite tells nobody of a commit, but ``PRAGMA data_version`` costs a few microseconds: it is polled.
    """

    def __init__(self, open_file: Callable[[], TokenLogFile]) -> None:
        self._open_file = open_file
        self._followers: set[_Follower] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def watching(self, stream: str) -> Iterator[asyncio.Event]:
        """The event is set, in the caller's loop, some milliseconds after the stream grew, or the log was closed."""
        follower = _Follower(stream, asyncio.get_running_loop())
        with self._changed:
            self._followers.add(follower)
            if self._closed:
                follower.changed.set()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="token-log-watcher", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield follower.changed
        finally:
            with self._changed:
                self._followers.discard(follower)

    def close(self) -> None:
        """Wakes every follower and ends the thread. Blocks for a moment."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        self._wake(self._snapshot())

    def _watch(self) -> None:
        file: TokenLogFile | None = None
        version, changed_at = -1, 0.0
        while self._wait(QUICK_SECONDS if time.monotonic() - changed_at < QUIET_AFTER_SECONDS else SLOW_SECONDS):
            followers = self._snapshot()
            try:
                file = file or self._open_file()
                now = file.version()
                if now == version and all(follower.last_id is not None for follower in followers):
                    continue
                last_ids = file.last_ids(follower.stream for follower in followers)
            except sqlite3.Error:
                # The followers read for themselves and so raise what is wrong.
                self._wake(followers)
                if file is not None:
                    file.close()
                file, version = None, -1
                continue
            if now != version:
                version, changed_at = now, time.monotonic()
            grown = [each for each in followers if each.last_id != last_ids.get(each.stream, 0)]
            for follower in grown:
                follower.last_id = last_ids.get(follower.stream, 0)
            self._wake(grown)
        if file is not None:
            file.close()

    def _wait(self, seconds: float) -> bool:
        """Until the next look; without followers, until there is one. False: closed."""
        with self._changed:
            if self._followers:
                self._changed.wait_for(lambda: self._closed, seconds)
            else:
                self._changed.wait_for(lambda: self._closed or self._followers)
            return not self._closed

    def _snapshot(self) -> list[_Follower]:
        with self._changed:
            return list(self._followers)

    @staticmethod
    def _wake(followers: list[_Follower]) -> None:
        for follower in followers:
            with suppress(RuntimeError):  # its loop was closed without it: nobody waits any more
                follower.loop.call_soon_threadsafe(follower.changed.set)
