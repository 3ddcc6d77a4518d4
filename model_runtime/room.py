"""Is there room on the disk for what is about to be written?"""

from __future__ import annotations

import shutil
from pathlib import Path

from dialogue.faults import ModelFault

__all__ = ["check_room"]

_SPARE = 64 << 20
"""Bytes that stay free: a disk that is full to the last byte stops everybody else on it."""


def check_room(folder: Path, wanted: int) -> None:
    """Raises :class:`ModelFault` where the disk of ``folder`` (there or not yet) has no ``wanted`` bytes to spare."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < wanted + _SPARE:
        raise ModelFault(
            f"{folder}: {wanted / 1e9:.1f} GB are needed and its disk has {free / 1e9:.1f} GB free. Make room, then do "
            "it again; nothing was written."
        )
