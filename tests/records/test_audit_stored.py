"""Whatever bytes are put into a row, verifying goes to the end of the chain and names that row."""

# ruff: noqa: S608 the names in these statements are our tables' and columns'

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import RecordsConflict
from records import audit as audit_module
from records import audit_checkpoints
from records.audit import AuditLog
from records.audit_chain import GENESIS, Head, row_hash
from records.audit_rows import Problem
from records.audit_search import AuditQuery, find_rows
from records.audit_tails import keep_tail
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import writing
from records.signing import Signer
from records.tables import Json, UtcDateTime, audit_heads, interaction_logs
from settings.schema import Settings
from tests.records.rows import a_row

on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
ROWS = 20
DEEP = f"'{'[' * 2000}{']' * 2000}'"
"""JSON that Python does not read to its end."""


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(Settings(data=tmp_path))


@pytest.fixture
async def sealed(database: AsyncEngine, keys: DataKeys, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> AuditLog:
    """Twenty rows, two of them signed."""
    for module in (audit_module, audit_checkpoints):
        monkeypatch.setattr(module, "EVERY", 8)
    log = AuditLog(database, keys, signer=signer)
    for turn in range(1, ROWS + 1):
        await log.append(a_row(turn=turn))
    assert await log.verify() == []
    return log


@pytest.fixture
def file(database: AsyncEngine) -> Iterator[sqlite3.Connection]:
    """The same file, whose texts are bytes."""
    with closing(sqlite3.connect(database.url.database or "", isolation_level=None)) as connection:
        connection.text_factory = bytes
        connection.execute("PRAGMA synchronous = OFF")
        yield connection


def named(problems: list[Problem]) -> set[int]:
    return {problem.id for problem in problems if problem.id is not None}


# any byte -------------------------------------------------------------------------------------------


@on_sqlite
async def test_a_thousand_flipped_bytes_are_each_named(sealed: AuditLog, file: sqlite3.Connection) -> None:
    """One at a time, of any stored value of any row: its row is named, and none but perhaps the one after it."""
    chance, missed = random.Random(20261130), list[Any]()
    rows = stored(file, "interaction_logs")
    for number in range(1000):
        flip = Flip.any(file, "interaction_logs", rows, chance)
        id_ = flip.new if flip.column == "id" else flip.rowid
        found = named(await sealed.verify())
        if id_ not in found or not found <= {id_, flip.rowid + 1}:
            missed.append((number, flip.rowid, flip.column, flip.new, found))
        flip.undo()
    assert missed == []
    assert await sealed.verify() == []


@on_sqlite
@pytest.mark.parametrize("table", ["audit_heads", "audit_checkpoints", "audit_tails"])
async def test_a_flipped_byte_of_what_the_chain_is_held_against_is_found(
    sealed: AuditLog, database: AsyncEngine, file: sqlite3.Connection, signer: Signer, table: str
) -> None:
    """Of a head, a checkpoint, or where the rows begin; not of the times of these, nor of the last id given away."""
    if table == "audit_tails":
        hash_ = stored(file, "interaction_logs")[1]["hash"]
        file.execute("DELETE FROM interaction_logs WHERE position <= 2")
        async with writing(database) as connection:
            assert await keep_tail(connection, "lantern", Head(2, hash_.decode()), signer, before=None)
        assert await sealed.verify() == []
    chance, missed = random.Random(20261130), list[Any]()
    rows = [{name: row[name] for name in row if name not in ("last_id", "timestamp")} for row in stored(file, table)]
    for number in range(100):
        flip = Flip.any(file, table, rows, chance)
        if not await sealed.verify():
            missed.append((number, flip.column, flip.new))
        flip.undo()
    file.execute(f"UPDATE {table} SET position = 'x' WHERE rowid = 1")
    assert await sealed.verify() != []
    assert missed == []


def stored(file: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    """Its rows, and where each is ``at``."""
    rows = file.execute(f"SELECT rowid AS at, * FROM {table} ORDER BY rowid")
    names = [name for name, *_ in rows.description]
    return [dict(zip(names, row, strict=True)) for row in rows]


class Flip:
    """One byte of one stored value made another one."""

    def __init__(self, file: sqlite3.Connection, table: str, rowid: int, column: str, old: Any, new: Any) -> None:
        self._file, self._table, self._old = file, table, old
        self.rowid, self.column, self.new = rowid, column, new
        self._write(rowid, new)

    @classmethod
    def any(cls, file: sqlite3.Connection, table: str, rows: list[dict[str, Any]], chance: random.Random) -> Flip:
        row = chance.choice(rows)
        column = chance.choice([name for name, value in row.items() if value not in (None, b"") and name != "at"])
        try:
            return cls(file, table, row["at"], column, row[column], flipped(row[column], chance))
        except sqlite3.IntegrityError:  # another row has this already
            return cls.any(file, table, rows, chance)

    def undo(self) -> None:
        self._write(self.new if self.column == "id" else self.rowid, self._old)

    def _write(self, rowid: int, value: Any) -> None:
        stored = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
        statement = f'UPDATE {self._table} SET "{self.column}" = {stored} WHERE rowid = ?'
        assert self._file.execute(statement, (value, rowid)).rowcount == 1


def flipped(value: Any, chance: random.Random) -> Any:
    """One of its bits, or one of its bytes, another one."""
    form = {int: ">q", float: ">d"}.get(type(value))
    stored = bytearray(struct.pack(form, value) if form else value)
    stored[chance.randrange(len(stored))] ^= chance.choice([1 << chance.randrange(8), chance.randrange(1, 256)])
    return struct.unpack(form, stored)[0] if form else bytes(stored)


# any value ------------------------------------------------------------------------------------------


TAKEN = {
    "sqlite": {
        str: ["{} || ' '", "'x'", "CAST({} AS BLOB)", "CAST(X'ff' AS TEXT)"],
        int: ["{} + 1000"],
        float: ["{} + 1e-9", "9e999", "'x'", "X'01'"],
        dict: ["{} || ' '", "trim({}, '\"{}')", "CAST({} AS BLOB)", "CAST(X'ff' AS TEXT)", "17", "'null'", DEEP],
        datetime: [
            "replace({}, ' ', '$')", "replace({}, ' ', 'T')", "{} || '+00:00'", "substr({}, 1, 10)",
            "'9999-99-99'", "CAST({} AS BLOB)", "CAST(X'ff' AS TEXT)", "17",
        ],
    },
    "postgresql": {
        str: ["{} || ' '", "'x'"],
        int: ["{} + 1000"],
        float: ["{} + 1e-9", "'NaN'", "'Infinity'"],
        dict: ["CAST(CAST({} AS TEXT) || ' ' AS JSON)", "'[]'", "'null'", DEEP],
        datetime: [
            "{} + interval '1 microsecond'", "'infinity'", "'-infinity'", "'20000-01-01'",
            "'2026-09-21 14:13:20.123456+00 BC'",
        ],
    },
}  # fmt: skip
"""What each database takes in place of a value ``{}`` of a column of that type."""


def changes(column: Column[Any], on: str) -> list[str]:
    more = ["NULL"] if column.nullable else []
    if on == "sqlite" and column.name in ("position", "turn"):  # not of the id: SQLite keeps to its type
        more += ["{} + 0.5", "'x'", "X'01'"]
    type_ = {UtcDateTime: datetime, Json: dict}.get(type(column.type)) or column.type.python_type
    return [change.replace("{}", f'"{column.name}"', 1) for change in (*TAKEN[on][type_], *more)]


async def test_any_other_value_in_any_column_is_named(
    sealed: AuditLog, database: AsyncEngine, keys: DataKeys, words: AuditWords
) -> None:
    """Whatever the database takes there: of another type, without a meaning, or another notation of the same value. And
    whoever looks for rows is shown all others, and that one, or told of it."""
    id_, on = 7, database.dialect.name
    back = (
        f"DELETE FROM interaction_logs WHERE id NOT BETWEEN 1 AND {ROWS} OR id = {id_}",
        "INSERT INTO interaction_logs SELECT * FROM kept",
    )
    await execute(database, f"CREATE TABLE kept AS SELECT * FROM interaction_logs WHERE id = {id_}")
    missed: list[Any] = []
    for column in interaction_logs.columns:
        for change in changes(column, on):
            await execute(database, f'UPDATE interaction_logs SET "{column.name}" = {change} WHERE id = {id_}')
            found = named(await sealed.verify())
            if found != {id_ + 1000 if column.name == "id" else id_}:
                missed.append((column.name, change[:40], found))
            told: list[RecordsConflict] = []
            shown = await find_rows(database, AuditQuery(), words=words, keys=keys, unshown=told.append)
            others = {row.id for row in shown} - {id_, id_ + 1000}
            if len(others) != ROWS - 1 or len(shown) + len(told) != ROWS:
                missed.append((column.name, change[:40], "shown", others, told))
            await execute(database, *back)
    assert missed == []
    assert await sealed.verify() == []


async def execute(database: AsyncEngine, *statements: str) -> None:
    async with writing(database) as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


# beyond it ------------------------------------------------------------------------------------------


@on_sqlite
async def test_rows_after_one_that_does_not_decode_are_verified(audit: AuditLog, database: AsyncEngine) -> None:
    """Also where the chain is longer than what is fetched at once."""
    rows, before = list[dict[str, Any]](), GENESIS
    for position in range(1, 521):
        columns = {**a_row(turn=position).to_columns(), "data_key": None}
        rows.append({**columns, "id": position, "position": position, "previous_hash": before})
        before = rows[-1]["hash"] = row_hash(rows[-1])
    async with writing(database) as connection:
        await connection.execute(interaction_logs.insert(), rows)
        await connection.execute(audit_heads.insert().values(tenant="lantern", last_id=520, position=520, hash=before))
    assert await audit.verify() == []
    await execute(
        database,
        "UPDATE interaction_logs SET usage = '{' WHERE id = 510",
        "UPDATE interaction_logs SET timestamp = 'soon', note = CAST(X'ff' AS TEXT) WHERE id = 515",
        "UPDATE interaction_logs SET verdict = 'block' WHERE id = 518",
        "UPDATE interaction_logs SET position = 'x' WHERE id = 519",
    )
    assert [(problem.kind, problem.id, problem.message) for problem in await audit.verify("lantern")] == [
        ("changed", 519, "tenant lantern: row 519 is not as it was written: its position is no number."),
        ("changed", 510, "tenant lantern: row 510 is not as it was written: nobody wrote what stands in usage."),
        (
            "changed",
            515,
            "tenant lantern: row 515 is not as it was written: nobody wrote what stands in timestamp, note.",
        ),
        ("changed", 518, "tenant lantern: row 518 is not as it was written: its hash does not match."),
        ("removed", None, "tenant lantern: position 519: no row stands there any more."),
    ]


@on_sqlite
async def test_a_tenant_that_is_no_text_has_a_chain_of_its_own(sealed: AuditLog, file: sqlite3.Connection) -> None:
    """Named by its bytes, so that it can be printed; nobody's chain but its own is judged by it."""
    file.execute("UPDATE interaction_logs SET tenant = CAST(X'6cff' AS TEXT) WHERE id = 3")
    problems = await sealed.verify()
    assert {(p.tenant, p.kind, p.id, p.position) for p in problems} == {
        (r"b'l\xff'", "removed", None, 1),  # where its rows would begin, and its head
        (r"b'l\xff'", "removed", None, 4),
        (r"b'l\xff'", "changed", 3, 3),
        ("lantern", "removed", None, 3),
    }
