"""Files with secrets: readable by their owner alone from their first byte, and never seen half written."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

__all__ = ["hand_over", "replace_private", "write_private_once"]

_NO_LINKS = (errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)


def write_private_once(path: Path, text: str) -> None:
    """Of several processes that do so at once, all read the same one afterwards. Raises OSError."""
    if path.exists():
        return
    written = _written(path, text)
    try:
        os.link(written, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _create(path, text)
    finally:
        written.unlink()


def replace_private(path: Path, text: str | bytes, *, owner: int | None = None) -> None:
    """Readers see the old content or the new one. ``owner``: the id of the user whose file it is to be, where that is
    not whoever writes it. Raises OSError."""
    written = _written(path, text)
    try:
        if owner is not None:
            hand_over(written, owner)
        written.replace(path)
    except OSError:
        written.unlink()
        raise


def hand_over(path: Path, owner: int) -> None:
    """Makes it that user's. Raises OSError, which names them, for whoever may not."""
    if path.stat().st_uid == owner:
        return
    try:
        os.chown(path, owner, -1)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: it is user {owner}'s, run this as them") from error


def _create(path: Path, text: str) -> None:
    """Where the file system knows no links, as Gramine's: whoever reads at that moment may find half of it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())


def _written(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, written = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("ascii") if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())
    return Path(written)
