from __future__ import annotations

import asyncio
import hashlib
import json
import zlib

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import ContentMissing
from records.content import ContentStore
from records.database import reading, writing
from records.tables import contents


@pytest.fixture
def store(database: AsyncEngine) -> ContentStore:
    return ContentStore(database)


async def test_bytes_are_kept_under_their_sha256(store: ContentStore) -> None:
    """What was put comes back, byte for byte, by the digest anybody can compute."""
    body = "政策: mask\n".encode() + bytes(range(256))
    assert await store.put("policy", body) == hashlib.sha256(body).hexdigest()
    assert await store.get(hashlib.sha256(body).hexdigest()) == body


async def test_a_mapping_has_one_digest_whatever_its_order(store: ContentStore) -> None:
    """Equal mappings are one content, in canonical JSON that reads back as it was."""
    first = await store.put("try", {"prompt_ids": (1, 2, 3), "engine": {"rows": 4, "width": 512}})
    assert await store.put("try", {"engine": {"width": 512, "rows": 4}, "prompt_ids": [1, 2, 3]}) == first
    assert json.loads(await store.get(first)) == {"engine": {"rows": 4, "width": 512}, "prompt_ids": [1, 2, 3]}


async def test_putting_at_once_keeps_one(store: ContentStore, database: AsyncEngine) -> None:
    """Twenty who put the same at once all get its digest, and one row is kept."""
    digests = await asyncio.gather(*(store.put("intents", b"greeting: hello") for _ in range(20)))
    assert len(set(digests)) == 1
    async with reading(database) as connection:
        assert len((await connection.execute(contents.select())).all()) == 1


async def test_long_contents_are_kept_small(store: ContentStore, database: AsyncEngine) -> None:
    """The body is stored compressed."""
    await store.put("try", {"output_ids": [7] * 10_000})
    async with reading(database) as connection:
        assert len((await connection.execute(contents.select())).one().body) < 1000


async def test_an_unknown_digest_is_missing(store: ContentStore) -> None:
    """A digest nothing was put under raises ContentMissing and names it."""
    with pytest.raises(ContentMissing, match="no content is stored under 0123"):
        await store.get("0123")


@pytest.mark.parametrize("body", [b"not zlib", zlib.compress(b"another body")])
async def test_damaged_content_is_never_given_out(store: ContentStore, database: AsyncEngine, body: bytes) -> None:
    """Bytes that no longer have their digest are refused."""
    digest = await store.put("policy", b"rules")
    async with writing(database) as connection:
        await connection.execute(contents.update().values(body=body))
    with pytest.raises(ContentMissing, match="is damaged"):
        await store.get(digest)
