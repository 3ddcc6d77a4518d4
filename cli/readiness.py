"""Reads the files in which our processes say that they are ready: JSON with a ``pid``, below the ``run`` folder."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import psutil

__all__ = ["clear_stale", "gateway_url", "listens"]


def _read(file: Path) -> dict[str, Any]:
    """Empty while there is none, or while it is being written."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def listens(file: Path, pid: int) -> bool:
    """Whether the process group led by ``pid`` wrote that file: one of an earlier process counts for nothing."""
    writer = _read(file).get("pid")
    if not isinstance(writer, int):
        return False
    with contextlib.suppress(ProcessLookupError):
        return writer == pid or os.getpgid(writer) == pid
    return False


def gateway_url(file: Path) -> str:
    """Where the gateway says that it listens."""
    return str(_read(file).get("url", ""))


def clear_stale(folder: Path) -> None:
    """Removes what processes left behind that were killed."""
    for file in (*folder.glob("worker-*.json"), *folder.glob("gateway.json"), *folder.glob("codec_server.json")):
        writer = _read(file).get("pid")
        if not isinstance(writer, int) or not psutil.pid_exists(writer):
            file.unlink(missing_ok=True)
