"""Contents by digest: what a digest in an answer names (try records, policies, templates, intents)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["ContentStore"]


class ContentStore:
    """Every method may raise RecordsUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, kind: str, body: bytes | Mapping[str, Any]) -> str:
        """Keeps the bytes, or the mapping as canonical JSON, under the SHA-256 of them, which is returned."""
        raise NotImplementedError

    async def get(self, digest: str) -> bytes:
        """Raises ContentMissing when nothing, or something damaged, is stored under the digest."""
        raise NotImplementedError
