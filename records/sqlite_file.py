"""What both SQLite files of the records need: how they are opened, and what to do when they cannot be used."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

__all__ = ["enter_wal", "is_locked", "way_out"]

_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_locked(error: BaseException) -> bool:
    """Whether another connection, of this process or of another, holds the file's lock."""
    return _code(error) in _LOCKED


def way_out(error: BaseException, path: Path | str, *, meanwhile: str, damaged: str) -> str:
    """What an operator does about it. ``meanwhile``: what a lack of room costs until then; ``damaged``: what to do
    with a file that is no database."""
    code = _code(error)
    if code in _LOCKED:
        return f"Another process holds its lock: let it finish, or end it (`fuser {path}` names those that have it)."
    if code in _FULL:
        return f"Make room on its disk: {meanwhile}"
    if code in _DAMAGED:
        return damaged
    return "Check that its folder exists, may be written and has room."


def _code(error: BaseException) -> int:
    """SQLite's primary result code; 0 for an error of anything else."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def enter_wal(path: Path, *, patience: float = 30.0) -> None:
    """Puts the file into write-ahead-log mode, which it keeps. Makes the file, but not its folder.

    Raises ``sqlite3.Error``. Blocks; several processes may do it at once.
    """
    deadline = time.monotonic() + patience
    while True:
        connection = sqlite3.connect(path, timeout=patience)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait for this lock, whatever the busy timeout.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        finally:
            connection.close()
