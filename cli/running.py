"""Says whether ``parley up`` runs on this data folder, and where what it started can be reached."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from dialogue.faults import ParleyFault

__all__ = ["AlreadyRunning", "Running", "only_one", "running"]


class AlreadyRunning(ParleyFault):
    """Another ``parley up`` holds this data folder."""

    type, title, status = "already-running", "parley up runs already", 409


@dataclass(frozen=True, slots=True)
class Running:
    """A ``parley up`` that is ready, and its addresses. ``children`` are process ids by name."""

    pid: int
    gateway: str
    temporal: str
    web_ui: str
    children: dict[str, int]


def running(folder: Path) -> Running | None:
    """The one that runs on the data folder whose ``run`` folder this is; ``None`` where none does or is ready."""
    if not _is_locked(folder / "up.lock"):
        return None
    try:
        return Running(**json.loads((folder / "up.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class _Place:
    """Where this ``parley up`` says what it runs."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def publish(self, state: Running) -> None:
        """Replaces what was said, in one step."""
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(state), indent=2) + "\n", "utf-8")
        draft.replace(self._file)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[_Place]:
    """Holds the lock of that ``run`` folder, which ends with this process however it ends.

    Raises :class:`AlreadyRunning` naming the one that has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "up.lock").open("a+", encoding="utf-8") as lock:
        if not _take(lock):
            lock.seek(0)
            raise AlreadyRunning(_told(folder, lock.read().strip() or "?"))
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        file = folder / "up.json"
        file.unlink(missing_ok=True)
        try:
            yield _Place(file)
        finally:
            file.unlink(missing_ok=True)


def _take(lock: TextIO) -> bool:
    """More than one try: whoever looks whether it is held holds it for a moment."""
    for _ in range(5):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def _told(folder: Path, pid: str) -> str:
    state = running(folder)
    where = f": {state.gateway}, Web UI {state.web_ui}" if state else " and is still starting"
    return f"parley up runs already (pid {pid}){where}. Stop it with Ctrl-C there, or with `kill {pid}`."


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
