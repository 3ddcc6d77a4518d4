"""Changing the tenants' keys: a new one wraps, every data key is wrapped anew, and what is under others is counted.

Whoever uses the data keys meanwhile notices nothing. One that does not open is named and held up by no other: its
tenant's key may be disabled in a key service, or its row damaged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Row, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import KeyMissing, SealBroken
from records.database import connect_database, reading, writing
from records.key_owners import KeyOwners
from records.seal import new_key
from records.tables import data_keys
from records.tenant_keys import KeyProvider, Wrapped

__all__ = ["KeyRotation", "KeyStanding", "Rewrapped", "UnopenedKey", "holds_data_keys"]

_AT_ONCE = 200

keys = data_keys.c


@dataclass(frozen=True, slots=True)
class UnopenedKey:
    """A data key that cannot be wrapped anew, and ``why``. ``by``: the id of the key that it is under."""

    id: str
    tenant: str
    users: tuple[str, ...]
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Rewrapped:
    done: int
    unopened: tuple[UnopenedKey, ...]


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """``newest``: by tenant the id of the key that wraps now; a tenant whose key is missing is not in it. ``behind``:
    how many data keys are not under it."""

    newest: dict[str, str]
    behind: int


async def holds_data_keys(url: str) -> bool:
    """Whether a data key is in that database. Makes neither the file nor its tables. Raises RecordsUnavailable."""
    engine = connect_database(url)
    try:
        if engine.dialect.name == "sqlite" and not await asyncio.to_thread(Path(engine.url.database or "").exists):
            return False
        async with reading(engine) as connection:
            if not await connection.run_sync(lambda made: inspect(made).has_table(data_keys.name)):
                return False
            query = select(keys.id).where(keys.wrapped.is_not(None)).limit(1)
            return (await connection.execute(query)).first() is not None
    finally:
        await engine.dispose()


class KeyRotation:
    """Every method may raise RecordsUnavailable, KeysUnavailable and SettingsFault."""

    def __init__(self, engine: AsyncEngine, provider: KeyProvider) -> None:
        self._engine = engine
        self._provider = provider
        self._owners = KeyOwners(engine)

    async def rotate(self) -> bool:
        """A new key for each tenant whose key wraps; :meth:`rewrap` brings the data keys under it. False: the provider
        makes none. Raises KeyMissing where one could not be made, when all others are."""
        query = select(keys.tenant).where(keys.wrapped.is_not(None)).distinct()
        async with reading(self._engine) as connection:
            tenants = (await connection.execute(query)).scalars().all()
        newest, missing = await self._newest(tenants)
        if missing and not newest:
            raise missing[0]
        return await self._provider.rotate(tuple(newest))

    async def rewrap(self) -> Rewrapped:
        """Wraps every data key anew, under its tenant's newest key. Broken off, it can be run again."""
        last, done, unopened = "", 0, list[UnopenedKey]()
        while True:
            query = select(keys.id, keys.tenant, keys.wrapped, keys.wrapped_by).where(
                keys.id > last, keys.wrapped.is_not(None)
            )
            async with reading(self._engine) as connection:
                rows = (await connection.execute(query.order_by(keys.id).limit(_AT_ONCE))).all()
            if not rows:
                return Rewrapped(done, tuple(unopened))
            failed: dict[str, str] = {}
            for row in rows:
                try:
                    await self._rewrap(row)
                except (KeyMissing, SealBroken) as fault:
                    failed[row.id] = fault.message
            owners = await self._owners.of(failed)
            unopened += (
                UnopenedKey(row.id, row.tenant, tuple(sorted(owners[row.id].users)), row.wrapped_by, failed[row.id])
                for row in rows
                if row.id in failed
            )
            last, done = rows[-1].id, done + len(rows) - len(failed)

    async def standing(self, unopened: Iterable[UnopenedKey] = ()) -> KeyStanding:
        """Of all tenants that have a data key; ``unopened`` ones are not counted as behind."""
        query = (
            select(keys.tenant, keys.wrapped_by, func.count().label("number"))
            .where(keys.wrapped.is_not(None))
            .group_by(keys.tenant, keys.wrapped_by)
        )
        async with reading(self._engine) as connection:
            found = (await connection.execute(query)).all()
        newest, _ = await self._newest({row.tenant for row in found})
        behind = sum(row.number for row in found if row.wrapped_by != newest.get(row.tenant))
        known = sum(1 for each in unopened if each.by != newest.get(each.tenant))
        return KeyStanding(newest, max(behind - known, 0))  # one of them may be forgotten by now

    async def _newest(self, tenants: Iterable[str]) -> tuple[dict[str, str], list[KeyMissing]]:
        """A provider tells which of its keys is the newest by wrapping."""
        newest, missing = dict[str, str](), list[KeyMissing]()
        for tenant in sorted(tenants):
            try:
                newest[tenant] = (await self._provider.wrap(tenant, new_key())).by
            except KeyMissing as fault:
                missing.append(fault)
        return newest, missing

    async def _rewrap(self, row: Row[str, str, bytes | None, str]) -> None:
        """Raises KeyMissing and SealBroken."""
        key = await self._provider.unwrap(row.tenant, Wrapped(row.wrapped_by, row.wrapped or b""))
        new = await self._provider.wrap(row.tenant, key)
        async with writing(self._engine) as connection:  # one forgotten meanwhile stays so
            same = (keys.id == row.id, keys.wrapped == row.wrapped)
            await connection.execute(data_keys.update().where(*same).values(wrapped=new.blob, wrapped_by=new.by))
