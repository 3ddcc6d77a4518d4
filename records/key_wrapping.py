"""Wrapping data keys under a tenant's newest key, and not under one that was made because the right one is lost.

A worker that finds no key file makes one. What is sealed under that would be lost when the right file comes back.

A key service may take its time, so no transaction waits for one: a transaction that needs a key ends with
:class:`KeyNeeded`, and begins anew with one that is :class:`Ready`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import KeyMissing, SealBroken
from records.database import reading
from records.seal import new_key
from records.tables import data_keys
from records.tenant_keys import KeyProvider, Wrapped

__all__ = ["NOBODY", "KeyNeeded", "KeyWrapping", "Ready"]

NOBODY = ""
"""The tenant of what is nobody's yet, and the user of what is a tenant's own: no caller can be called so."""
_LOOKED_AT = 5
"""Keys of tenants, the oldest first. In a key service a tenant may have one of its own, which was taken away since."""
_ROWS = 3
"""Data keys of each: a key service says of a damaged one what it says of a key that is gone."""

keys = data_keys.c
_Row = Row[str, bytes | None, str]


@dataclass(frozen=True, slots=True)
class Ready:
    """A data key that is wrapped under ``tenant``'s. ``of``: that of nobody's as it stood, which it was made of; None:
    it is a new one."""

    tenant: str
    wrapped: Wrapped
    of: Wrapped | None


class KeyNeeded(Exception):
    """What the transaction needs: ``of`` wrapped under ``tenant``'s key, or a new one."""

    def __init__(self, tenant: str, of: Wrapped | None = None) -> None:
        super().__init__(tenant)
        self.tenant, self.of = tenant, of


class KeyWrapping:
    """Every method may raise RecordsUnavailable, KeysUnavailable and KeyMissing."""

    def __init__(self, engine: AsyncEngine, provider: KeyProvider) -> None:
        self._engine = engine
        self._provider = provider
        self._checked: set[tuple[str, str]] = set()

    async def ready(self, tenant: str, of: Wrapped | None = None) -> Ready:
        """Not to be called within a transaction. Raises KeyMissing where the tenant's data keys are under other keys,
        of which none is there, unless more are under this one; of a tenant that has none, and of what is nobody's,
        where everybody's are. Raises SealBroken where ``of`` is another tenant's."""
        key = new_key() if of is None else await self._provider.unwrap(NOBODY, of)
        wrapped = await self._provider.wrap(tenant, key)
        if (tenant, wrapped.by) not in self._checked and await self._is_the_right_one(tenant, wrapped.by):
            self._checked.add((tenant, wrapped.by))
        return Ready(tenant, wrapped, of)

    async def stands(self, connection: AsyncConnection, ready: Ready) -> bool:
        """Within the transaction that writes it down: False where there was no data key to hold it against when it was
        wrapped, and one under another key came since. Asks no key service."""
        if (ready.tenant, ready.wrapped.by) in self._checked:
            return True
        oldest, _ = await _oldest(connection, ready.tenant)
        return not oldest or oldest[0] == ready.wrapped.by

    async def _is_the_right_one(self, tenant: str, new: str) -> bool:
        """False where there is nothing to hold it against yet. Raises KeyMissing where it is not."""
        async with reading(self._engine) as connection:
            oldest, whose = await _oldest(connection, tenant)
            if not oldest:
                return False
            if oldest[0] == new:  # it was there before whatever else is
                return True
            others = [by for by in oldest if by != new]
            rows = [row for by in others for row in await _some(connection, by, whose)]
        fault = await self._missing(rows)
        if fault is not None and not await self._is_under_most(new, others, whose):
            raise fault
        return True

    async def _missing(self, rows: Iterable[_Row]) -> KeyMissing | None:
        """None where one of the keys that these are under is there."""
        missing: KeyMissing | None = None
        for row in rows:
            try:
                await self._provider.unwrap(row.tenant, Wrapped(row.wrapped_by, row.wrapped or b""))
            except SealBroken:  # the row is damaged; its key was found
                return None
            except KeyMissing as fault:
                missing = missing or fault
            else:
                return None
        return missing

    async def _is_under_most(self, new: str, missing: list[str], whose: list[ColumnElement[bool]]) -> bool:
        """Whether what is under the missing keys was left behind when the rest was brought under the new one: it is
        damaged, or was given up. Under a made-up key there is a stray one at most."""
        number = select(func.count()).select_from(data_keys)
        async with reading(self._engine) as connection:
            rows = await _some(connection, new, whose)
            under = (await connection.execute(number.where(*whose, keys.wrapped_by == new))).scalar_one()
            left = (await connection.execute(number.where(*whose, keys.wrapped_by.in_(missing)))).scalar_one()
        return under > left and await self._missing(rows) is None


async def _some(connection: AsyncConnection, by: str, whose: list[ColumnElement[bool]]) -> Sequence[_Row]:
    query = select(keys.tenant, keys.wrapped, keys.wrapped_by).where(*whose, keys.wrapped_by == by)
    return (await connection.execute(query.order_by(keys.created, keys.id).limit(_ROWS))).all()


async def _oldest(connection: AsyncConnection, tenant: str) -> tuple[list[str], list[ColumnElement[bool]]]:
    """The oldest keys that the tenant's data keys are under, and which data keys those are: everybody's where the
    tenant has none, and of what is nobody's."""
    everybodys: list[ColumnElement[bool]] = [keys.wrapped.is_not(None)]
    query: Any = select(keys.wrapped_by).group_by(keys.wrapped_by).order_by(func.min(keys.created)).limit(_LOOKED_AT)
    if tenant != NOBODY:
        own = [*everybodys, keys.tenant == tenant]
        found = list((await connection.execute(query.where(*own))).scalars())
        if found:
            return found, own
    return list((await connection.execute(query.where(*everybodys))).scalars()), everybodys
