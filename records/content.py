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

from dialogue.faults import ContentMissing, KeyMissing
from records.data_keys import DataKeys
from records.database import reading, writing
from records.seal import place, seal, unseal
from records.statements import insert
from records.tables import contents

__all__ = ["ContentStore"]


class ContentStore:
    """Every method may raise RecordsUnavailable, and KeysUnavailable where contents are sealed (with ``keys``)."""

    def __init__(self, engine: AsyncEngine, keys: DataKeys | None = None) -> None:
        self._engine = engine
        self._keys = keys

    async def put(self, kind: str, body: bytes | Mapping[str, Any], *, workflow: str | None = None) -> str:
        """Keeps the bytes, or the mapping as canonical JSON, under the SHA-256 of them, which is returned.

        Putting the same again changes nothing, its first ``kind`` included. What is of a ``workflow`` is sealed under
        its data key, where there are keys, and goes with that; what is the site's own is not.
        """
        digest, packed = await asyncio.to_thread(_pack, body)
        row = {"digest": digest, "kind": kind, "body": packed, "timestamp": datetime.now(UTC), "data_key": None}
        if self._keys is not None and workflow is not None:
            key = await self._keys.of_workflow(workflow)
            row |= {"body": seal(key, packed, place("content", digest)), "data_key": key.id}
        async with writing(self._engine) as connection:
            statement = insert(connection, contents).values(row)
            again = {name: statement.excluded[name] for name in ("body", "data_key")}
            # Sealed, the last one counts: the key of the first may be gone.
            statement = statement.on_conflict_do_update(
                index_elements=[contents.c.digest], set_=again, where=contents.c.data_key.is_not(None)
            )
            await connection.execute(statement)
        return digest

    async def get(self, digest: str) -> bytes:
        """Raises ContentMissing when nothing, or something damaged, is stored under the digest, and KeyMissing where
        it was of a user who was forgotten."""
        query = select(contents.c.body, contents.c.data_key).where(contents.c.digest == digest)
        async with reading(self._engine) as connection:
            found = (await connection.execute(query)).one_or_none()
        if found is None:
            raise ContentMissing(f"digest: no content is stored under {digest}. Was it made at another site?")
        packed = found.body
        if found.data_key is not None:
            if self._keys is None:
                raise KeyMissing(f"digest: {digest} is encrypted. Name the provider in encryption.provider.")
            packed = unseal(await self._keys.by_id(found.data_key), packed, place("content", digest))
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
