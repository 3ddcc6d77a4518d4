"""Hands the followers of a token log file what any process has written to it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from dialogue.faults import TokenLogUnavailable
from records.token_log import StreamEvent
from records.token_log_file import TokenLogFile

__all__ = ["Follower", "Watcher"]

QUICK_SECONDS = 0.003
"""Between two looks while tokens flow: what a reader waits at most, beside the reading itself."""
SLOW_SECONDS = 0.012
QUIET_AFTER_SECONDS = 5.0
READ_AT_ONCE = 1000
"""Events of one stream."""

_NEVER = -1
_Handed = dict["Follower", "list[StreamEvent] | None"]


class Follower:
    """One reader of a stream, in the loop in which it was made. ``after``: the last event that it has."""

    def __init__(self, stream: str, after: int, watcher: Watcher) -> None:
        self.stream = stream
        self.after = after
        self.hungry = False
        """Whether it waits for more; one that does not is not read for, so no events pile up before a slow reader."""
        self.read_at = _NEVER
        """The file's version in which nothing was left for it."""
        self.loop = asyncio.get_running_loop()
        self._watcher = watcher
        self._coming: asyncio.Future[list[StreamEvent] | None] | None = None

    async def more(self) -> list[StreamEvent] | None:
        """The next events, as soon as there are any. ``None`` where the file cannot be read, or the log was closed:
        whoever then reads for themselves is told why."""
        is_new, self._coming = self._coming is None, self.loop.create_future()
        self.hungry = True
        if is_new or self._watcher.closed:
            self._watcher.look()
        return await self._coming

    def give(self, events: list[StreamEvent] | None) -> None:
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(events)


class Watcher:
    """One thread that reads for all followers of a process; it sleeps while there are none.

    SQLite tells nobody of a commit, but ``PRAGMA data_version`` costs a few microseconds: it is polled. What was added
    is then read with one query for all, and handed over with one call into each loop.
    """

    def __init__(self, open_file: Callable[[], TokenLogFile]) -> None:
        self._open_file = open_file
        self._followers: set[Follower] = set()
        self._changed = threading.Condition()
        self._look_now = False
        self._thread: threading.Thread | None = None
        self.closed = False

    @contextmanager
    def following(self, stream: str, after: int) -> Iterator[Follower]:
        follower = Follower(stream, after, self)
        with self._changed:
            self._followers.add(follower)
            if self._thread is None and not self.closed:
                self._thread = threading.Thread(target=self._watch, name="token-log-watcher", daemon=True)
                self._thread.start()
        try:
            yield follower
        finally:
            with self._changed:
                self._followers.discard(follower)

    def close(self) -> None:
        """Tells every follower and ends the thread. Blocks for a moment."""
        with self._changed:
            self.closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        _hand_over(dict.fromkeys(self._hungry()))

    def look(self) -> None:
        """At once, for a follower that has just come."""
        with self._changed:
            self._look_now = True
            self._changed.notify()
        if self.closed:
            _hand_over(dict.fromkeys(self._hungry()))

    def _watch(self) -> None:
        file: TokenLogFile | None = None
        version, changed_at = _NEVER, 0.0
        while self._wait(QUICK_SECONDS if time.monotonic() - changed_at < QUIET_AFTER_SECONDS else SLOW_SECONDS):
            hungry = self._hungry()
            try:
                file = file or self._open_file()
                now = file.version()  # before reading: what is written meanwhile is another version
                handed = _read(file, [each for each in hungry if each.read_at != now], now)
            except (sqlite3.Error, TokenLogUnavailable):
                for follower in hungry:
                    follower.read_at, follower.hungry = _NEVER, False
                _hand_over(dict.fromkeys(hungry))
                if file is not None:
                    file.close()
                file, version = None, _NEVER
                continue
            if now != version:
                version, changed_at = now, time.monotonic()
            _hand_over(handed)
        if file is not None:
            file.close()

    def _wait(self, seconds: float) -> bool:
        """Until the next look; without followers, until there is one. False: closed."""
        with self._changed:
            bound = seconds if self._followers else None
            self._changed.wait_for(lambda: self.closed or self._look_now, bound)
            self._look_now = False
            return not self.closed

    def _hungry(self) -> list[Follower]:
        with self._changed:
            return [each for each in self._followers if each.hungry]


def _read(file: TokenLogFile, followers: list[Follower], version: int) -> _Handed:
    """What there is for them. Followers of one stream are read for together, each from where it is."""
    if not followers:
        return {}
    after: dict[str, int] = {}
    for each in followers:
        after[each.stream] = min(each.after, after.get(each.stream, each.after))
    found = file.read_all(after, READ_AT_ONCE)
    return {each: own for each in followers if (own := _own(each, found, version))}


def _own(follower: Follower, found: Mapping[str, list[StreamEvent]], version: int) -> list[StreamEvent]:
    events = found.get(follower.stream, [])
    if len(events) < READ_AT_ONCE:
        follower.read_at = version
    own = events if events and events[0].id > follower.after else [each for each in events if each.id > follower.after]
    if own:
        follower.after, follower.hungry = own[-1].id, False
    return own


def _hand_over(handed: _Handed) -> None:
    loops = {follower.loop for follower in handed}
    for loop in loops:
        mine = [(follower, events) for follower, events in handed.items() if follower.loop is loop]
        with suppress(RuntimeError):  # the loop was closed without them: nobody waits any more
            loop.call_soon_threadsafe(_give, mine)


def _give(handed: list[tuple[Follower, list[StreamEvent] | None]]) -> None:
    for follower, events in handed:
        follower.give(events)
