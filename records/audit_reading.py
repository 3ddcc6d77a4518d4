"""Rows of the audit as whoever asked for them sees them: opened, one behind another, and what is damaged named."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import RecordsConflict
from records.audit_rows import KeptRow
from records.audit_seal import TextSeal
from records.audit_stored import StoredRow, selected_rows, undecoded
from records.database import reading
from records.tables import interaction_logs

__all__ = ["Unshown", "few_rows", "kept_rows"]

Unshown = Callable[[RecordsConflict], None]
"""Is told of each row that cannot be shown; the others come all the same."""


async def kept_rows(
    engine: AsyncEngine, query: Select[Any], seal: TextSeal, unshown: Unshown | None = None
) -> AsyncGenerator[KeptRow]:
    """What a query of ``interaction_logs`` selects, as it stood in one moment, one by one. It keeps a connection while
    keys are read over another, so it is for a command, and not for many at once.

    Raises what :class:`TextSeal` raises, RecordsUnavailable, and RecordsConflict for a row that cannot be shown where
    ``unshown`` is not there to be told.
    """
    async with (
        reading(engine) as connection,
        undecoded(connection),
        aclosing(selected_rows(connection, interaction_logs, query)) as rows,
    ):
        async for stored in rows:
            try:
                row = await _opened(stored, seal)
            except RecordsConflict as fault:
                if unshown is None:
                    raise
                unshown(fault)
                continue
            yield row


async def few_rows(engine: AsyncEngine, query: Select[Any], seal: TextSeal) -> list[KeptRow]:
    """The same of a query that selects few: all at once, and opened when the connection is given back. A row that
    cannot be shown ends it."""
    async with reading(engine) as connection, undecoded(connection):
        found = [stored async for stored in selected_rows(connection, interaction_logs, query)]
    return [await _opened(stored, seal) for stored in found]


async def _opened(stored: StoredRow, seal: TextSeal) -> KeptRow:
    whole = KeptRow.without(stored.foreign, stored.columns)
    opened, gone, damaged = await seal.opened_row(whole)
    return KeptRow.of_columns(opened, forgotten=gone, damaged=(*stored.foreign, *damaged))
