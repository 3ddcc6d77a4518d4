"""Forgetting a user: their data keys are destroyed, and with them what they and we said, wherever it stands.

Rows and histories stay: who, when, which model, which verdict, and the chain of hashes, which runs over ciphertext.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from records.audit_exports import AuditExports, Export
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import reading, writing
from records.tables import feedback, interaction_logs

__all__ = ["Forgotten", "InClear", "forget_user", "what_is_in_clear"]


@dataclass(frozen=True, slots=True)
class InClear:
    """Texts of a user that were written while the site did not encrypt: no key's end reaches them."""

    rows: int
    feedback: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """``workflows``: whose payloads open no more. ``exports``: files with the user's texts, out of our reach."""

    keys: int
    workflows: tuple[str, ...]
    exports: tuple[Export, ...]
    in_clear: InClear


async def forget_user(
    engine: AsyncEngine, keys: DataKeys, words: AuditWords, exports: AuditExports, tenant: str, user: str
) -> Forgotten:
    """Destroys the keys for good; done twice, the second finds nothing left. Raises RecordsUnavailable."""
    destroyed = await keys.destroy(tenant, user)
    held = await exports.holding(tenant, user)  # now: none is kept any more that holds what those keys sealed
    async with writing(engine) as connection:
        await words.forget(connection, tenant, user)
    return Forgotten(destroyed.keys, destroyed.workflows, tuple(held), await what_is_in_clear(engine, tenant, user))


async def what_is_in_clear(engine: AsyncEngine, tenant: str, user: str) -> InClear:
    counts: list[int] = []
    async with reading(engine) as connection:
        for table in (interaction_logs, feedback):
            query = select(func.count()).where(
                table.c.tenant == tenant, table.c.user_id == user, table.c.data_key.is_(None)
            )
            counts.append((await connection.execute(query)).scalar_one())
    return InClear(*counts)
