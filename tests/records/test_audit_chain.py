"""Whatever is done to the stored rows behind the audit's back is found and named."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from records.audit import AuditLog
from records.audit_chain import row_hash
from records.database import reading, writing
from records.tables import audit_heads, interaction_logs
from tests.records.rows import a_row

logs = interaction_logs.c
ROWS = 6


@pytest.fixture
async def chain(audit: AuditLog) -> AuditLog:
    """Six rows of one tenant, one of another among them."""
    for turn in range(1, ROWS + 1):
        await audit.append(a_row(turn=turn))
        if turn == 3:
            await audit.append(a_row(tenant="harbour", conversation="conv-9"))
    return audit


async def execute(database: AsyncEngine, *statements: Any) -> None:
    async with writing(database) as connection:
        for statement in statements:
            await connection.execute(statement)


async def stored(database: AsyncEngine, position: int) -> dict[str, Any]:
    query = select(interaction_logs).where(logs.tenant == "lantern", logs.position == position)
    async with reading(database) as connection:
        return dict((await connection.execute(query)).mappings().one())


def at(position: int) -> Any:
    return (logs.tenant == "lantern") & (logs.position == position)


def other_value(value: Any, name: str) -> Any:
    """A value that differs as little as its type allows."""
    if name == "citations":
        return [{**value[0], "end": value[0]["end"] + 1}]
    if name == "usage":
        return {**value, "prompt_tokens": value["prompt_tokens"] + 1}
    if name == "timestamp":
        return value + timedelta(microseconds=1)
    if name in ("id", "position", "turn"):
        return value + 100
    if value is None:
        return "x"
    return value + 1e-9 if isinstance(value, float) else value + " "


async def found(audit: AuditLog) -> list[tuple[str, int | None]]:
    return [(problem.kind, problem.position) for problem in await audit.verify("lantern")]


async def test_an_untouched_chain_has_no_problems(chain: AuditLog) -> None:
    """Rows of several tenants, each in its own chain, are all as they were written."""
    assert await chain.verify() == []


async def test_a_change_in_any_column_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """The smallest change of any one column of a row is named with its row."""
    for name in [column.name for column in interaction_logs.columns if column.name not in ("position", "tenant")]:
        row = await stored(database, 3)
        await execute(database, interaction_logs.update().where(at(3)).values({name: other_value(row[name], name)}))
        problems = await chain.verify()
        changed = await stored(database, 3)
        assert [(each.kind, each.id) for each in problems] == [("changed", changed["id"])], name
        assert problems[0].message == (
            f"tenant lantern: row {changed['id']} is not as it was written: its hash does not match."
        )
        await execute(database, interaction_logs.update().where(at(3)).values({name: row[name]}))
        assert await chain.verify() == []


async def test_a_row_given_to_another_tenant_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """It is missed where it was, and known to nobody where it is now."""
    await execute(database, interaction_logs.update().where(at(3)).values(tenant="harbour"))
    problems = {(problem.tenant, problem.kind, problem.position) for problem in await chain.verify()}
    assert problems == {("lantern", "removed", 3), ("harbour", "inserted", 3)}


async def test_a_value_made_null_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """NULL is left out of the hash, but a value that became NULL is missed."""
    await execute(database, interaction_logs.update().where(at(2)).values(ip_address=None))
    assert await found(chain) == [("changed", 2)]


async def test_a_change_with_its_hash_made_anew_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """A forger who also recomputes the row's hash is given away by the row after it, or by the head."""
    for position in (3, ROWS):
        row = {**await stored(database, position), "output_text": "forged"}
        forged = {**row, "hash": row_hash(row)}
        await execute(database, interaction_logs.update().where(at(position)).values(forged))
    assert await found(chain) == [("changed", 3), ("changed", ROWS)]


@pytest.mark.parametrize("position", [1, 3, ROWS])
async def test_a_removed_row_is_found(chain: AuditLog, database: AsyncEngine, position: int) -> None:
    """At the beginning, in the middle and at the end."""
    await execute(database, interaction_logs.delete().where(at(position)))
    assert await found(chain) == [("removed", position)]


async def test_removing_everything_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """The head remembers how long the chain was."""
    await execute(database, interaction_logs.delete().where(logs.tenant == "lantern"))
    (problem,) = await chain.verify()
    assert problem.message == "tenant lantern: positions 1 to 6: no row stands there any more."


async def test_an_added_row_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """A row put behind the last one, with a right hash, is none that the head knows."""
    last = await stored(database, ROWS)
    row = {**last, "id": 999, "turn": 99, "position": ROWS + 1, "previous_hash": last["hash"]}
    await execute(database, interaction_logs.insert().values({**row, "hash": row_hash(row)}))
    assert await found(chain) == [("inserted", ROWS + 1)]


async def test_a_row_put_in_between_is_found(chain: AuditLog, database: AsyncEngine) -> None:
    """A row with a right hash put in between, and the rest moved up with their hashes made anew, is named."""
    before, after = await stored(database, 3), await stored(database, 4)
    moves = [
        interaction_logs.update().where(at(position)).values(position=position + 1) for position in range(ROWS, 3, -1)
    ]
    row = {**before, "id": 999, "turn": 99, "position": 4, "previous_hash": before["hash"]}
    moved = {**after, "position": 5}
    await execute(
        database,
        *moves,
        interaction_logs.insert().values({**row, "hash": row_hash(row)}),
        interaction_logs.update().where(at(5)).values(hash=row_hash(moved)),
        audit_heads.update().where(audit_heads.c.tenant == "lantern").values(position=ROWS + 1),
    )
    assert ("inserted", 4) in await found(chain)


async def test_swapped_rows_are_found(chain: AuditLog, database: AsyncEngine) -> None:
    """Two rows that changed places are named with the places where they stood."""
    first, second = await stored(database, 2), await stored(database, 5)
    await execute(
        database,
        interaction_logs.update().where(logs.id == first["id"]).values(position=1000),
        interaction_logs.update().where(logs.id == second["id"]).values(position=2),
        interaction_logs.update().where(logs.id == first["id"]).values(position=5),
    )
    problems = await chain.verify()
    assert [(problem.kind, problem.id) for problem in problems] == [
        ("reordered", second["id"]),
        ("reordered", first["id"]),
    ]
    assert "stood at position 5, not 2" in problems[0].message


async def test_verifying_while_rows_are_appended_finds_nothing(chain: AuditLog) -> None:
    """The check sees one moment, so a chain that grows under it is whole."""
    appending = asyncio.gather(*(chain.append(a_row(conversation="conv-2", turn=turn)) for turn in range(1, 21)))
    for _ in range(5):
        assert await chain.verify() == []
    await appending
    assert await chain.count("lantern") == ROWS + 20
