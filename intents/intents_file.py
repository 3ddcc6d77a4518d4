"""Reads an intents file and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

__all__ = ["IntentsFile", "load"]


class IntentsFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def load(path: Path) -> IntentsFile:
    """Raises IntentsFault naming file and key."""
    raise NotImplementedError
