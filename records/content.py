"""Contents by digest: what a digest in an answer names (try records, policies, templates, intents)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import ContentMissing
from records.database import reading, writing
from records.statements import insert
from records.tables import contents

__all__ = ["ContentStore"]


class ContentStore:
    """Every method may raise RecordsUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, kind: str, body: bytes | Mapping[str, Any]) -> str:
        """Keeps the bytes, or the mapping as canonical JSON, under the SHA-256 of them, which is returned.

        Putting the same again changes nothing, its first ``kind`` included.
        """
        digest, packed = await asyncio.to_thread(_pack, body)
        row = {"digest": digest, "kind": kind, "body": packed, "timestamp": datetime.now(UTC)}
        async with writing(self._engine) as connection:
            await connection.execute(insert(connection, contents).values(row).on_conflict_do_nothing())
        return digest

    async def get(self, digest: str) -> bytes:
        """Raises ContentMissing when nothing, or something damaged, is stored under the digest."""
        async with reading(self._engine) as connection:
            packed = await connection.scalar(select(contents.c.body).where(contents.c.digest == digest))
        if packed is None:
            raise ContentMissing(f"digest: no content is stored under {digest}. Was it made at another site?")
        return await asyncio.to_thread(_unpack, digest, packed)


def _pack(body: bytes | Mapping[str, Any]) -> tuple[str, bytes]:
    if not isinstance(body, bytes):
        canonical = json.dumps(body, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
        body = canonical.encode("ascii")
    return hashlib.sha256(body).hexdigest(), zlib.compress(body)


def _unpack(digest: str, packed: bytes) -> bytes:
    try:
        body = zlib.decompress(packed)
    except zlib.error:
        body = None
    if body is None or hashlib.sha256(body).hexdigest() != digest:
        raise ContentMissing(f"digest: what is stored under {digest} is damaged. Restore the table contents.")
    return body
