"""What both SQLite files of the records need."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

__all__ = ["enter_wal"]


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
