"""Keys that stand while something is written that their end would no longer reach: a file with texts in clear.

A file is written after the texts were read. Whoever is forgotten in between must be told of the file, or there must be
none: so within the transaction that notes the file, the keys are asked for, and nobody destroys them until it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import KeyDestroyed
from records.database import reading
from records.tables import data_keys, key_users

__all__ = ["Hold", "destroyed_keys", "hold_keys", "hold_keys_of"]

Hold = Callable[[AsyncConnection], Awaitable[None]]
"""Called within a transaction that writes. Raises KeyDestroyed."""

_AT_ONCE = 500

keys, users = data_keys.c, key_users.c


async def destroyed_keys(engine: AsyncEngine) -> frozenset[str]:
    """The ids of those that are destroyed by now. Raises RecordsUnavailable."""
    async with reading(engine) as connection:
        return frozenset((await connection.execute(select(keys.id).where(keys.wrapped.is_(None)))).scalars())


async def hold_keys(connection: AsyncConnection, ids: Iterable[str]) -> None:
    """Until the transaction ends nobody destroys these. Raises KeyDestroyed for one that is. An id that a
    damaged row names is no key's."""
    wanted = sorted(ids)  # as whoever destroys several goes through them, or the two would wait for each other
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        query = select(keys.id, keys.wrapped.is_(None)).where(keys.id.in_(some)).order_by(keys.id)
        found = (await connection.execute(query.with_for_update(read=True))).all()
        if gone := [id_ for id_, destroyed in found if destroyed]:
            raise KeyDestroyed(f"key {gone[0]}: was destroyed when its user was forgotten. What it sealed is gone.")


async def hold_keys_of(
    connection: AsyncConnection, people: Collection[tuple[str, str]], destroyed: frozenset[str]
) -> None:
    """The same for all keys that are these people's (tenant and user), but for those that were ``destroyed`` before."""
    theirs: set[str] = set()
    for tenant, user in people:
        query = select(users.key_id).where(users.tenant == tenant, users.user_id == user)
        theirs |= set((await connection.execute(query)).scalars())
    await hold_keys(connection, theirs - destroyed)
