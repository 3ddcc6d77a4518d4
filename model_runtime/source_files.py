"""The files of a source that are no safetensors: its config, and a GGUF. What is damaged is told in one line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialogue.faults import ModelCorrupt

__all__ = ["read_config", "reading_gguf"]

_MAGIC = b"GGUF"


def read_config(path: Path) -> dict[str, Any]:
    """Raises :class:`ModelCorrupt` where it is no JSON object."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelCorrupt(f"{path}: is no JSON ({error}): fetch it again") from error
    if not isinstance(config, dict):
        raise ModelCorrupt(f"{path}: is no JSON object: fetch it again")
    return config


@contextlib.contextmanager
def reading_gguf(path: Path) -> Iterator[None]:
    """Whatever the libraries raise within is :class:`ModelCorrupt`: rubbish stops each of them in its own way."""
    with path.open("rb") as file:
        magic = file.read(len(_MAGIC))
    if magic != _MAGIC:
        raise ModelCorrupt(f"{path}: is no GGUF, for it begins with {magic!r}: fetch it again, or take another source")
    try:
        yield
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ModelCorrupt(
            f"{path}: cannot be read as GGUF ({reason}): fetch it again, or take a safetensors checkpoint"
        ) from error
