"""A text of the audit that was damaged where it is kept: its row is named, and everything else is shown."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import RecordsConflict
from records.audit import AuditLog
from records.audit_exports import AuditExports
from records.audit_rows import KeptRow
from records.audit_seal import SEALED
from records.audit_search import AuditQuery, find_rows
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import reading, writing
from records.tables import data_keys, feedback, interaction_logs
from tests.records.rows import a_row

logs = interaction_logs.c
DAMAGE: dict[str, Callable[[str], Any]] = {
    "cut by one": lambda stored: stored[:-1],
    "cut by four": lambda stored: stored[:-4],
    "changed": lambda stored: ("B" if stored[0] == "A" else "A") + stored[1:],
    "no Base64": lambda stored: f"?{stored}",
}


@pytest.fixture
async def sealed(database: AsyncEngine, keys: DataKeys, words: AuditWords) -> AuditLog:
    """Three rows, something in every column."""
    audit = AuditLog(database, keys, words=words)
    for turn in (1, 2, 3):
        await audit.append(a_row(turn=turn, note="as ever", user_id="bob" if turn == 2 else "ann"))
    return audit


async def put(database: AsyncEngine, **values: Any) -> None:
    """Into the second row."""
    async with writing(database) as connection:
        await connection.execute(update(interaction_logs).where(logs.turn == 2).values(values))


async def stored(database: AsyncEngine, name: str) -> Any:
    async with reading(database) as connection:
        return (await connection.execute(select(logs[name]).where(logs.turn == 2))).scalar_one()


@pytest.mark.parametrize("what", DAMAGE)
async def test_a_damaged_text_is_named_and_the_rest_is_shown(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords, tmp_path: Path, what: str
) -> None:
    """Whichever column it is and however it was damaged: in turns, rows, what is found, and an export."""
    whole = (await sealed.turns("conv-1", "lantern"))[1]
    for name in SEALED:
        was = await stored(database, name)
        await put(database, **{name: DAMAGE[what](was)})
        gone = None if name == "ip_address" else () if name == "citations" else ""
        wanted = whole.model_copy(update={name: gone, "damaged": (name,)})
        found = await find_rows(database, AuditQuery(tenant="lantern"), words=words, keys=keys)
        for rows in (await sealed.turns("conv-1", "lantern"), await sealed.rows("lantern"), found[::-1]):
            assert [row.damaged for row in rows] == [(), (name,), ()]
            assert rows[1] == wanted
        assert wanted.damage == (
            f"damaged: turn 2 of conv-1 (row {whole.id} of tenant lantern): {name}: not as written, and left empty"
        )
        assert [(problem.kind, problem.id) for problem in await sealed.verify()] == [("changed", whole.id)]
        assert not (await sealed.append(a_row(turn=2, note="as ever", user_id="bob"))).created
        await put(database, **{name: was})
    with pytest.raises(RecordsConflict, match="another note"):
        await sealed.append(a_row(turn=2, user_id="bob"))
    await put(database, input_text=DAMAGE[what](await stored(database, "input_text")))
    written = await AuditExports(database, sealed).write(tmp_path / "rows.csv", "lantern")
    assert written is not None
    assert (written.rows, len(written.damaged)) == (3, 1)
    with (tmp_path / "rows.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [(row["damaged"], bool(row["input_text"])) for row in csv.DictReader(file)] == [
            ("", True), ("input_text", False), ("", True),
        ]  # fmt: skip


async def test_what_may_match_is_found(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords
) -> None:
    """Whether a damaged row holds the words, or cites the document, cannot be told: it is given where the index, and
    all else that is asked, speak for it."""
    await put(database, output_text="x", citations="x")

    async def find(**asked: Any) -> list[int]:
        return [row.turn for row in await find_rows(database, AuditQuery(**asked), words=words, keys=keys)]

    assert await find(text="parcel") == [3, 2, 1]
    assert await find(text="lamp") == []
    assert await find(document="r.md") == [3, 2, 1]
    assert await find(document="other.md") == [2]
    assert await find(document="other.md", user="ann") == []


async def test_a_damaged_key_costs_its_users_texts_alone(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys
) -> None:
    """And a comment that is damaged is empty and says so."""
    await sealed.keep_feedback(conversation="conv-1", turn=1, tenant="lantern", user="ann", score=1, comment="good")
    async with writing(database) as connection:
        await connection.execute(update(feedback).values(comment="x"))
        bobs = select(data_keys.c.wrapped).where(data_keys.c.user_id == "bob")
        wrapped: bytes = (await connection.execute(bobs)).scalar_one()
        await connection.execute(
            update(data_keys)
            .where(data_keys.c.user_id == "bob")
            .values(wrapped=wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
        )
    fresh = AuditLog(database, DataKeys(database, keys._provider))
    rows = await fresh.rows("lantern")
    assert [bool(row.input_text) for row in rows] == [True, False, True]
    assert [row.damaged for row in rows] == [(), SEALED, ()]
    assert [(given.comment, given.damaged) for given in await fresh.feedback("conv-1", "lantern")] == [("", True)]


async def test_what_is_no_json_any_more_ends_no_look(sealed: AuditLog, database: AsyncEngine) -> None:
    """SQLite holds any text in such a column. Rows in clear are read alike."""
    if database.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no text that is no JSON")
    for statement in ("citations = substr(citations, 2)", "usage = '{'", "data_key = NULL, citations = '[1'"):
        async with writing(database) as connection:
            await connection.execute(text(f"UPDATE interaction_logs SET {statement} WHERE turn = 2"))  # noqa: S608 ours
        assert [(problem.kind, problem.position) for problem in await sealed.verify()] == [("changed", 2)]
        (row,) = await sealed.rows("lantern", user="bob")
        assert set(row.damaged) <= {"citations", "usage"}
        assert statement.rpartition(" = ")[0].rpartition(" ")[2] in row.damaged
        assert row.citations == ()


async def test_a_row_that_cannot_be_shown_is_one_clear_line(sealed: AuditLog, database: AsyncEngine) -> None:
    """A verdict that is none: nothing could stand in its place."""
    await put(database, verdict="fine")
    with pytest.raises(RecordsConflict, match=r"audit row \d: verdict: not as it was written.* `parley audit verify`"):
        await sealed.turns("conv-1", "lantern")


def test_a_row_of_an_older_bundle_is_whole() -> None:
    """It says nothing of damage."""
    row = {**a_row().model_dump(), "id": 1, "position": 1, "previous_hash": "", "hash": ""}
    assert KeptRow.model_validate(row).damage == ""
