"""The token log in a SQLite file of its own: the embedded back end."""

from __future__ import annotations

from pathlib import Path

from records.token_log import DEFAULT_MAX_STREAM_BYTES, TokenLog

__all__ = ["SqliteTokenLog"]


class SqliteTokenLog(TokenLog):
    def __init__(self, path: Path, *, max_stream_bytes: int = DEFAULT_MAX_STREAM_BYTES) -> None:
        self._path = path
        self._max_stream_bytes = max_stream_bytes
