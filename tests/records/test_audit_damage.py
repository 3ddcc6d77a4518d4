"""A text of the audit that was damaged where it is kept: its row is named, and everything else is shown."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import KeyMissing, RecordsConflict
from records.audit import AuditLog
from records.audit_exports import AuditExports
from records.audit_rows import KeptRow
from records.audit_seal import SEALED
from records.audit_search import AuditQuery, find_rows
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import reading, writing
from records.tables import data_keys, feedback, interaction_logs
from records.tenant_keys import LocalKeys
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


async def put_raw(database: AsyncEngine, what: str) -> None:
    """The same by a statement, for what SQLAlchemy would not write."""
    async with writing(database) as connection:
        await connection.execute(text(f"UPDATE interaction_logs SET {what} WHERE turn = 2"))  # noqa: S608 ours


async def all_rows(audit: AuditLog, *, user: str | None = None) -> list[KeptRow]:
    return [row async for row in audit.rows("lantern", user=user)]


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
        for rows in (await sealed.turns("conv-1", "lantern"), await all_rows(sealed), found[::-1]):
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
    rows = await all_rows(fresh)
    assert [bool(row.input_text) for row in rows] == [True, False, True]
    assert [row.damaged for row in rows] == [(), SEALED, ()]
    assert [(given.comment, given.damaged) for given in await fresh.feedback("conv-1", "lantern")] == [("", True)]


async def test_what_is_no_json_any_more_ends_no_look(sealed: AuditLog, database: AsyncEngine) -> None:
    """SQLite holds any text in such a column. Rows in clear are read alike."""
    if database.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no text that is no JSON")
    for statement in ("citations = substr(citations, 2)", "usage = '{'", "data_key = NULL, citations = '[1'"):
        await put_raw(database, statement)
        assert [(problem.kind, problem.position) for problem in await sealed.verify()] == [("changed", 2)]
        (row,) = await all_rows(sealed, user="bob")
        assert set(row.damaged) <= {"citations", "usage"}
        assert statement.rpartition(" = ")[0].rpartition(" ")[2] in row.damaged
        assert row.citations == ()


async def test_a_moment_that_is_none_any_more_ends_no_look(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords, tmp_path: Path
) -> None:
    """SQLite holds any text in such a column, and any number."""
    if database.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no text that is no moment")
    for number, damage in enumerate(("'2026-13-41 00:00:00'", "'x'", "7", "x'ff'", "substr(timestamp, 3)")):
        await put_raw(database, f"timestamp = {damage}")
        (row,) = await all_rows(sealed, user="bob")
        assert (row.damaged, row.timestamp, row.input_text) == (("timestamp",), 0.0, a_row().input_text)
        found = await find_rows(database, AuditQuery(tenant="lantern"), words=words, keys=keys)
        assert {each.turn: each.damaged for each in found} == {1: (), 2: ("timestamp",), 3: ()}
        # Nobody can say any more that it is not of that time.
        out = tmp_path / f"{number}.csv"
        written = await AuditExports(database, sealed).write(out, "lantern", since=datetime(2100, 1, 1, tzinfo=UTC))
        assert written is not None
        assert (written.rows, list(written.damaged)) == (1, [f"{row.damage}."])
        with out.open(encoding="utf-8-sig", newline="") as file:
            assert [(each["turn"], each["timestamp"]) for each in csv.DictReader(file)] == [("2", "")]
        assert [(problem.kind, problem.id) for problem in await sealed.verify()] == [("changed", row.id)]


CANNOT_BE_SHOWN = {
    "verdict": "'fine'",
    "message_id": "cast(x'ff' AS TEXT)",
    "conversation": "cast(x'ff' AS TEXT)",
    "turn": "'two'",
}


@pytest.mark.parametrize("name", CANNOT_BE_SHOWN)
async def test_a_row_that_cannot_be_shown_is_named_and_the_others_are_shown(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords, tmp_path: Path, name: str
) -> None:
    """Nothing could stand in the place of what is damaged in it."""
    if name != "verdict" and database.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no such value")
    (id_,) = [row.id async for row in sealed.rows("lantern") if row.turn == 2]
    await put_raw(database, f"{name} = {CANNOT_BE_SHOWN[name]}")
    told: list[RecordsConflict] = []
    assert [row.turn async for row in sealed.rows("lantern", unshown=told.append)] == [1, 3]
    for asked in (AuditQuery(), AuditQuery(text="parcel")):
        found = await find_rows(database, asked, words=words, keys=keys, unshown=told.append)
        assert [row.turn for row in found] == [3, 1]
    lines = [fault.message for fault in told]
    ways_out = "`parley audit verify` names it; put back what stood there."
    assert set(lines) == {f"audit row {id_}: {name}: not as it was written, and the row cannot be shown. {ways_out}"}
    exports = AuditExports(database, sealed)
    written = await exports.write(tmp_path / "rows.csv", "lantern")
    assert written is not None
    assert (written.rows, list(written.damaged)) == (2, lines[:1])
    alone = await exports.write(tmp_path / "bob.csv", "lantern", user="bob")
    assert alone is not None
    assert (alone.export, alone.rows, list(alone.damaged)) == (None, 0, lines[:1])
    assert not (tmp_path / "bob.csv").exists()
    with pytest.raises(RecordsConflict, match=f"{name}: not as it was written"):
        await all_rows(sealed)


async def test_a_row_that_names_a_key_that_never_was_is_damaged(
    sealed: AuditLog, database: AsyncEngine, tmp_path: Path
) -> None:
    """Where the key is known, and only the tenant's is not here, nothing is said to be damaged."""
    await put(database, data_key="key-of-nobody")
    assert [row.damaged for row in await all_rows(sealed)] == [(), SEALED, ()]
    elsewhere = DataKeys(database, LocalKeys(tmp_path / "other.keys", make=True))
    with pytest.raises(KeyMissing):
        await all_rows(AuditLog(database, elsewhere))


def test_a_row_of_an_older_bundle_is_whole() -> None:
    """It says nothing of damage."""
    row = {**a_row().model_dump(), "id": 1, "position": 1, "previous_hash": "", "hash": ""}
    assert KeptRow.model_validate(row).damage == ""
