"""A token log's store in the hands of somebody who may write to it and has no key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import msgpack
from redis import Redis

__all__ = ["Chunks", "TokenLogStore"]

Chunks = list[tuple[bytes, bytes]]
"""Ids and text of each batch, as they are stored."""


class TokenLogStore:
    """Of one stream's first candidate of the first try. ``place``: a file or a URL of Redis."""

    def __init__(self, place: str, stream: str) -> None:
        self._place, self._stream = place, stream
        self._in_redis = "://" in place

    @property
    def chunks(self) -> Chunks:
        if self._in_redis:
            with self._redis() as redis:
                unpacker = msgpack.Unpacker()
                unpacker.feed(redis.get(self._key("tokens")))
                return [(ids, text) for *_, ids, text in unpacker]
        return self._sql("SELECT ids, text FROM chunks WHERE stream = ? ORDER BY number", self._stream)

    @chunks.setter
    def chunks(self, chunks: Chunks) -> None:
        if self._in_redis:
            with self._redis() as redis:
                pack: Any = msgpack.packb
                records = b"".join(pack((1, 0, *chunk)) for chunk in chunks)
                redis.set(self._key("tokens"), records, keepttl=True)
            return
        self._sql("DELETE FROM chunks WHERE stream = ?", self._stream)
        for number, chunk in enumerate(chunks, 1):
            self._sql("INSERT INTO chunks VALUES (?, 1, 0, ?, ?, ?)", self._stream, number, *chunk)

    def event(self, number: int) -> str:
        """Its data."""
        if self._in_redis:
            with self._redis(decode_responses=True) as redis:
                ((_, entry),) = redis.xrange(self._key("events"), f"{number}-0", f"{number}-0")
                return entry["data"]
        return self._sql("SELECT data FROM events WHERE stream = ? AND id = ?", self._stream, number)[0][0]

    def set_event(self, number: int, data: str) -> None:
        if not self._in_redis:
            self._sql("UPDATE events SET data = ? WHERE stream = ? AND id = ?", data, self._stream, number)
            return
        with self._redis(decode_responses=True) as redis:
            events = redis.xrange(self._key("events"))
            redis.delete(self._key("events"))
            for id_, entry in events:
                redis.xadd(self._key("events"), {**entry, "data": data} if id_ == f"{number}-0" else entry, id_)

    def _key(self, part: str) -> str:
        return f"parley:{{{self._stream}}}:{part}"

    def _redis(self, **options: Any) -> Any:
        return Redis.from_url(self._place, **options)

    def _sql(self, statement: str, *arguments: object) -> list[Any]:
        with closing(sqlite3.connect(self._place, isolation_level=None)) as connection:
            return connection.execute(statement, arguments).fetchall()
