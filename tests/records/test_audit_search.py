"""From a complaint to the row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import InvalidRequest
from knowledge_base.terms import terms
from records.audit import AuditLog
from records.audit_search import AuditQuery, find_rows
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import connect_database, migrate
from records.tenant_keys import LocalKeys
from tests.records.rows import a_row

NOON = 1_790_000_000.0


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Four rows, on each kind of database."""
    await migrate(url)
    engine = connect_database(url)
    audit = AuditLog(engine, words=AuditWords(engine, terms))
    for turn, changes in enumerate(
        (
            {"user_id": "ann", "verdict": "pass", "timestamp": NOON},
            {"user_id": "ann", "verdict": "block", "timestamp": NOON + 60, "citations": (), "input_text": "Ｃard lost"},
            {"user_id": "bob", "verdict": "human", "timestamp": NOON + 120, "model": "large", "model_digest": "f" * 64},
            {"tenant": "acme", "user_id": "ann", "timestamp": NOON + 180, "intent": "card_lost", "snapshot": "9" * 64},
        ),
        1,
    ):
        await audit.append(a_row(turn=turn, **changes))
    yield engine
    await engine.dispose()


@pytest.mark.parametrize(
    ("asked", "turns"),
    [
        ({}, [4, 3, 2, 1]),
        ({"tenant": "lantern"}, [3, 2, 1]),
        ({"user": "ann"}, [4, 2, 1]),
        ({"user": "ann", "tenant": "acme"}, [4]),
        ({"since": NOON + 60}, [4, 3, 2]),
        ({"since": NOON + 60, "until": NOON + 120}, [2]),
        ({"verdict": ("block", "human")}, [3, 2]),
        ({"intent": "card_lost"}, [4]),
        ({"model": "large"}, [3]),
        ({"model": "fff"}, [3]),
        ({"model": "%"}, []),
        ({"snapshot": "999"}, [4]),
        ({"document": "r.md"}, [4, 3, 1]),
        ({"document": "r"}, []),
        ({"text": "card LOST"}, [2]),
        ({"text": "退货 parcel"}, [4, 3, 1]),
        ({"text": "returned parcels"}, [4, 3, 1]),
        ({"text": '"return a parcel"'}, [4, 3, 1]),
        ({"text": "“parcel return”"}, []),
        ({"text": "how the parcel"}, []),
        ({"text": "I"}, [4, 3, 2, 1]),
        ({"text": "parcel", "user": "ann", "tenant": "lantern"}, [1]),
        ({"text": "parcel", "since": NOON + 60, "verdict": ("human",)}, [3]),
        ({"text": "ＰＡＲＣＥＬ ｄａｙｓ return?"}, [4, 3, 1]),
        ({"text": "parcel nowhere"}, []),
        ({"text": "parcel time"}, []),  # the second stands in the reasoning, which nobody was told
        ({"conversation": "conv-1", "user": "bob"}, [3]),
        ({"conversation": "conv-2"}, []),
    ],
)
async def test_all_that_is_given_must_hold(engine: AsyncEngine, asked: dict[str, Any], turns: list[int]) -> None:
    """Newest first, over all tenants where none is named."""
    words = AuditWords(engine, terms)
    assert [row.turn for row in await find_rows(engine, AuditQuery(**asked), words=words)] == turns


async def test_the_newest_are_given_where_there_are_many(engine: AsyncEngine) -> None:
    """As many as are asked for, of whichever tenant."""
    words = AuditWords(engine, terms)
    assert [row.turn for row in await find_rows(engine, AuditQuery(user="ann"), words=words, limit=2)] == [4, 2]
    found = await find_rows(engine, AuditQuery(text="parcel"), words=words, limit=2)
    assert [(row.tenant, row.turn) for row in found] == [("acme", 4), ("lantern", 3)]


async def test_a_text_without_a_word_is_refused(engine: AsyncEngine) -> None:
    """Rather than answered with all there is."""
    with pytest.raises(InvalidRequest, match="holds no word"):
        await find_rows(engine, AuditQuery(text="?! …"), words=AuditWords(engine, terms))


async def test_what_is_sealed_is_found_with_its_keys_alone(url: str, tmp_path: Path) -> None:
    """Words and documents are sealed; verdict, time and user are not."""
    await migrate(url)
    engine = connect_database(url)
    try:
        keys = DataKeys(engine, LocalKeys(tmp_path / "site.keys", make=True))
        await AuditLog(engine, keys).append(a_row())
        sealed, plain = AuditWords(engine, terms, keys), AuditWords(engine, terms)
        for asked in (AuditQuery(text="parcel"), AuditQuery(document="r.md")):
            assert [row.turn for row in await find_rows(engine, asked, words=sealed, keys=keys)] == [1]
            assert await find_rows(engine, asked, words=plain) == []
        (row,) = await find_rows(engine, AuditQuery(verdict=("pass",)), words=plain)
        assert (row.forgotten, row.input_text) == (True, "")
    finally:
        await engine.dispose()
