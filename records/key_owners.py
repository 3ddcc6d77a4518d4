"""Whose a data key is: what a codec server asks before it opens anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from records.database import reading
from records.tables import data_keys, key_users

__all__ = ["KeyOwner", "KeyOwners"]


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """``tenant`` is empty while the key is nobody's yet; ``users`` are all who may be forgotten with it."""

    tenant: str
    users: frozenset[str]


class KeyOwners:
    """Looks into the database each time: a key that was nobody's becomes a user's with their workflow's first step."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def of(self, ids: Iterable[str]) -> dict[str, KeyOwner]:
        """By the key's id; one that never was here is not in it. Raises RecordsUnavailable."""
        asked = sorted(set(ids))
        if not asked:
            return {}
        query = (
            select(data_keys.c.id, data_keys.c.tenant, key_users.c.user_id)
            .outerjoin(key_users, key_users.c.key_id == data_keys.c.id)
            .where(data_keys.c.id.in_(asked))
        )
        tenants: dict[str, str] = {}
        users: dict[str, set[str]] = {}
        async with reading(self._engine) as connection:
            for id_, tenant, user in await connection.execute(query):
                tenants[id_] = tenant
                users.setdefault(id_, set()).update([user] if user is not None else [])
        return {id_: KeyOwner(tenant, frozenset(users[id_])) for id_, tenant in tenants.items()}
