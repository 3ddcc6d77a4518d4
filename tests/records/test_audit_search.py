"""From a complaint to the row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from records.audit import AuditLog
from records.audit_search import AuditQuery, find_rows, text_matches
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
    audit = AuditLog(engine)
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
        ({"text": "parcel nowhere"}, []),
        ({"conversation": "conv-1", "user": "bob"}, [3]),
        ({"conversation": "conv-2"}, []),
    ],
)
async def test_all_that_is_given_must_hold(engine: AsyncEngine, asked: dict[str, Any], turns: list[int]) -> None:
    """Newest first."""
    assert [row.turn for row in await find_rows(engine, AuditQuery(**asked))] == turns


async def test_the_newest_are_given_where_there_are_many(engine: AsyncEngine) -> None:
    """As many as are asked for."""
    assert [row.turn for row in await find_rows(engine, AuditQuery(user="ann"), limit=2)] == [4, 2]


async def test_what_is_sealed_is_found_with_its_keys_alone(url: str, tmp_path: Path) -> None:
    """Words and documents are sealed; verdict, time and user are not."""
    await migrate(url)
    engine = connect_database(url)
    try:
        keys = DataKeys(engine, LocalKeys(tmp_path / "site.keys", make=True))
        await AuditLog(engine, keys).append(a_row())
        for asked in (AuditQuery(text="parcel"), AuditQuery(document="r.md")):
            assert [row.turn for row in await find_rows(engine, asked, keys=keys)] == [1]
            assert await find_rows(engine, asked) == []
        (row,) = await find_rows(engine, AuditQuery(verdict=("pass",)))
        assert (row.forgotten, row.input_text) == (True, "")
    finally:
        await engine.dispose()


def test_words_are_found_whatever_their_case_and_width(tmp_path: Path) -> None:
    """All of them, in question, answer or reasoning."""
    from records.audit_rows import KeptRow

    row = KeptRow(**a_row().model_dump(), id=1, position=1, previous_hash="", hash="")
    assert text_matches(row, "PARCEL ｄａｙｓ time")
    assert not text_matches(row, "parcel invoice")
