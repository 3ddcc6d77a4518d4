"""Who looked at what through the codec server: a row for each workflow and key of a look, which nothing changes.

The table takes rows and lets none be changed or removed: triggers of the database refuse it to whoever comes by
Parley's own connection, and to everybody else until they take the trigger away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from records.database import reading, writing
from records.tables import payload_looks

__all__ = ["Look", "PayloadLooks"]


@dataclass(frozen=True, slots=True)
class Look:
    """``who``: the id of an API key, or an issuer's user. ``workflow_id`` is empty where a remote codec sealed it."""

    timestamp: datetime
    who: str
    how: str
    tenant: str
    workflow_id: str
    key_id: str
    payloads: int


class PayloadLooks:
    """Every method may raise RecordsUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, who: str, how: str, tenant: str, opened: Iterable[tuple[str, str]]) -> None:
        """``opened``: workflow and key of each payload, before any of them is handed out."""
        now, counted = datetime.now(UTC), Counter(opened)
        rows = [
            {
                "timestamp": now,
                "who": who,
                "how": how,
                "tenant": tenant,
                "workflow_id": workflow_id,
                "key_id": key_id,
                "payloads": count,
            }
            for (workflow_id, key_id), count in counted.items()
        ]
        if rows:
            async with writing(self._engine) as connection:
                await connection.execute(payload_looks.insert(), rows)

    async def of_tenant(self, tenant: str) -> list[Look]:
        """In the order in which they were taken."""
        shown = [payload_looks.c[name] for name in Look.__dataclass_fields__]
        query = select(*shown).where(payload_looks.c.tenant == tenant).order_by(payload_looks.c.id)
        async with reading(self._engine) as connection:
            return [Look(*row) for row in await connection.execute(query)]
