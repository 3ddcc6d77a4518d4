"""The token log's SQLite file, as seen by one connection: plain blocking calls, each one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from records import token_log_rules as rules
from records.sqlite_file import enter_wal
from records.token_log import ENDS, StreamEvent
from records.token_log_seal import Chunk

__all__ = ["TokenLogFile"]

BUSY_SECONDS = 1.0
"""How long a write waits for another process's; each takes some hundred microseconds. Short, because an answer waits
with it."""

_TRIMMED_AT_ONCE = 100
"""Streams removed in one transaction, so that no writer waits long for it."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS streams (
        stream TEXT PRIMARY KEY, last_id INTEGER NOT NULL, bytes INTEGER NOT NULL,
        ended INTEGER NOT NULL, touched REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS events (
        stream TEXT NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, at REAL NOT NULL, key TEXT,
        PRIMARY KEY (stream, id)
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX IF NOT EXISTS events_key ON events (stream, key) WHERE key IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS tries (
        stream TEXT NOT NULL, try INTEGER NOT NULL, candidate INTEGER NOT NULL,
        attempt INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (stream, try, candidate)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS chunks (
        stream TEXT NOT NULL, try INTEGER NOT NULL, candidate INTEGER NOT NULL, number INTEGER NOT NULL,
        ids BLOB NOT NULL, text BLOB NOT NULL, PRIMARY KEY (stream, try, candidate, number)
    ) WITHOUT ROWID""",
)

_Event = tuple[str, str, str | None]
"""Kind, data as JSON, key."""


class TokenLogFile:
    """Opens (and makes) the file. Every method may raise ``sqlite3.Error`` and TokenLogUnavailable."""

    def __init__(self, path: Path, max_stream_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._max_stream_bytes = max_stream_bytes
        self._clock = clock
        enter_wal(path, patience=BUSY_SECONDS)
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        # Losing power may lose the last tokens, or this whole file; a killed process loses nothing it committed.
        self._connection.execute("PRAGMA synchronous=OFF")
        # Looked for first: a reader that opens the file must not wait for a writer.
        if self._one("SELECT 1 FROM sqlite_master WHERE name = 'chunks'") is None:
            with self._writing():
                for statement in _SCHEMA:
                    self._connection.execute(statement)

    def close(self) -> None:
        self._connection.close()

    def wait_at_most(self, seconds: float) -> None:
        """From now on a write waits so long for another process's, and then raises ``sqlite3.OperationalError``."""
        self._connection.execute(f"PRAGMA busy_timeout={seconds * 1000:.0f}")

    # events

    def publish(self, stream: str, kind: str, data: str, key: str | None) -> int:
        event = (kind, data, key)
        with self._writing():
            if key is not None:
                found = self._one("SELECT id FROM events WHERE stream = ? AND key = ?", stream, key)
                if found:
                    return found[0]
            self._refuse_after_the_end(stream)
            return self._write(stream, [event], bounded=kind not in ENDS)

    def read(self, stream: str, after: int, limit: int) -> list[StreamEvent]:
        query = "SELECT id, kind, data, at FROM events WHERE stream = ? AND id > ? ORDER BY id LIMIT ?"
        rows = self._connection.execute(query, (stream, after, limit))
        return [StreamEvent(id_, kind, rules.from_json(stream, data), at) for id_, kind, data, at in rows]

    def read_all(self, after: Mapping[str, int], limit: int) -> dict[str, list[StreamEvent]]:
        """Of each of these streams the events above that id, at most ``limit``, in order; of the others nothing."""
        query = (
            "SELECT stream, events.id, kind, data, at FROM json_each(?) AS asked CROSS JOIN events "
            "ON stream = asked.key AND events.id > asked.value AND events.id <= asked.value + ? "
            "ORDER BY stream, events.id"
        )
        found: dict[str, list[StreamEvent]] = {}
        for stream, id_, kind, data, at in self._connection.execute(query, (json.dumps(after), limit)):
            found.setdefault(stream, []).append(StreamEvent(id_, kind, rules.from_json(stream, data), at))
        return found

    def version(self) -> int:
        """Another number as soon as another connection has committed."""
        return self._connection.execute("PRAGMA data_version").fetchone()[0]

    # tokens

    def open_attempt(self, stream: str, try_number: int, candidate: int, attempt: int) -> tuple[list[Chunk], int]:
        """What was appended so far, and the stream's last event id."""
        place = (stream, try_number, candidate)
        with self._writing():
            newest = self._newest_attempt(*place)
            if newest > attempt:
                raise rules.replaced(stream, try_number, attempt, newest)
            self._connection.execute(
                "INSERT INTO tries VALUES (?, ?, ?, ?, 0) "
                "ON CONFLICT (stream, try, candidate) DO UPDATE SET attempt = excluded.attempt",
                (*place, attempt),
            )
            return self.chunks(*place), self._last_id(stream)

    def append_tokens(
        self,
        stream: str,
        try_number: int,
        candidate: int,
        attempt: int,
        expected_offset: int,
        count: int,
        chunk: Chunk,
        shown: Sequence[tuple[str, str]],
    ) -> int:
        """``count`` tokens, ``shown`` as kind and data of its events."""
        place = (stream, try_number, candidate)
        ids, text = chunk
        events = [(kind, data, None) for kind, data in shown]
        with self._writing():
            self._check_fence(*place, attempt, expected_offset)
            last = self._one("SELECT max(number) FROM chunks WHERE stream = ? AND try = ? AND candidate = ?", *place)
            number = (last[0] or 0) + 1
            self._connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)", (*place, number, ids, text))
            self._connection.execute(
                "UPDATE tries SET tokens = tokens + ? WHERE stream = ? AND try = ? AND candidate = ?",
                (count, *place),
            )
            return self._write(stream, events, bounded=True, more_bytes=len(ids) + len(text))

    def chunks(self, stream: str, try_number: int, candidate: int) -> list[Chunk]:
        query = "SELECT ids, text FROM chunks WHERE stream = ? AND try = ? AND candidate = ? ORDER BY number"
        found = self._connection.execute(query, (stream, try_number, candidate)).fetchall()
        if not all(isinstance(part, bytes) for chunk in found for part in chunk):  # SQLite holds anything anywhere
            raise rules.damaged(stream)
        return found

    def trim(self, older_than: float) -> int:
        before, removed = self._clock() - older_than, 0
        while True:
            with self._writing():
                query = "SELECT stream FROM streams WHERE touched < ? LIMIT ?"
                old = self._connection.execute(query, (before, _TRIMMED_AT_ONCE)).fetchall()
                for table in ("chunks", "tries", "events", "streams"):
                    self._connection.executemany(f"DELETE FROM {table} WHERE stream = ?", old)  # noqa: S608 ours
            removed += len(old)
            if len(old) < _TRIMMED_AT_ONCE:
                return removed

    # within a transaction

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _one(self, query: str, *arguments: Any) -> Any:
        return self._connection.execute(query, arguments).fetchone()

    def _last_id(self, stream: str) -> int:
        found = self._one("SELECT last_id FROM streams WHERE stream = ?", stream)
        return found[0] if found else 0

    def _write(self, stream: str, events: Sequence[_Event], *, bounded: bool, more_bytes: int = 0) -> int:
        """Appends the events and counts the bytes; returns the stream's last id."""
        now = self._clock()
        last, held = self._one("SELECT last_id, bytes FROM streams WHERE stream = ?", stream) or (0, 0)
        held += more_bytes + sum(len(data) for _, data, _ in events)
        if bounded and held > self._max_stream_bytes:
            raise rules.full(stream, self._max_stream_bytes)
        rows = [(stream, id_, kind, data, now, key) for id_, (kind, data, key) in enumerate(events, last + 1)]
        self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
        last += len(rows)
        self._connection.execute(
            "INSERT INTO streams VALUES (?, ?, ?, ?, ?) ON CONFLICT (stream) DO UPDATE SET last_id = excluded.last_id, "
            "bytes = excluded.bytes, ended = max(ended, excluded.ended), touched = excluded.touched",
            (stream, last, held, any(kind == "final" for kind, _, _ in events), now),
        )
        return last

    def _refuse_after_the_end(self, stream: str) -> None:
        ended = self._one("SELECT ended FROM streams WHERE stream = ?", stream)
        if ended and ended[0]:
            raise rules.stream_ended(stream)

    def _newest_attempt(self, stream: str, try_number: int, candidate: int) -> int:
        """0 when none was opened. Raises TokenLogFenced when the try itself is over."""
        self._refuse_after_the_end(stream)
        higher = self._one("SELECT max(try) FROM tries WHERE stream = ?", stream)[0]
        if higher is not None and higher > try_number:
            raise rules.try_over(stream, try_number, higher)
        query = "SELECT attempt FROM tries WHERE stream = ? AND try = ? AND candidate = ?"
        found = self._one(query, stream, try_number, candidate)
        return found[0] if found else 0

    def _check_fence(self, stream: str, try_number: int, candidate: int, attempt: int, expected_offset: int) -> None:
        newest = self._newest_attempt(stream, try_number, candidate)
        if newest != attempt:
            raise rules.wrong_attempt(stream, try_number, attempt, newest)
        query = "SELECT tokens FROM tries WHERE stream = ? AND try = ? AND candidate = ?"
        tokens = self._one(query, stream, try_number, candidate)[0]
        if tokens != expected_offset:
            raise rules.wrong_offset(stream, try_number, attempt, expected_offset, tokens)
