"""What a site's conversations have left behind, to hold two moments against each other."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select, true

from dialogue.messages import TurnKey
from records.tables import archived_runs, audit_checkpoints, contents, interaction_logs, metadata
from records.token_log import StreamEvent, TokenLog
from replay.evidence import Evidence
from replay.turns import Turn

__all__ = ["Left", "left_by", "stream_of"]


@dataclass(frozen=True)
class Left:
    """``counts``: rows by table, of the records and of the token log. ``hashes``: of the audit's rows."""

    counts: dict[str, int]
    hashes: tuple[str, ...]
    stream: tuple[StreamEvent, ...]


async def left_by(held: Evidence, token_log: TokenLog, turn: Turn) -> Left:
    """But for the histories and checkpoints that the site's own schedule keeps, whatever is done meanwhile."""
    counts: dict[str, int] = {}
    async with held.database.connect() as connection:
        for table in metadata.sorted_tables:
            if table not in (archived_runs, audit_checkpoints):
                counted = contents.c.kind != "history" if table is contents else true()
                counts[table.name] = (
                    await connection.scalar(select(func.count()).select_from(table).where(counted)) or 0
                )
        hashes = tuple(await connection.scalars(select(interaction_logs.c.hash).order_by(interaction_logs.c.id)))
    counts |= await asyncio.to_thread(_token_log_counts, held.layout.token_log)
    return Left(counts, hashes, await stream_of(token_log, turn))


async def stream_of(token_log: TokenLog, turn: Turn) -> tuple[StreamEvent, ...]:
    key = TurnKey(conversation=turn.conversation, turn=turn.turn, tenant=turn.tenant)
    return tuple(await token_log.read(key.stream, limit=100_000))


def _token_log_counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # noqa: S608 ours
