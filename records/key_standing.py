"""Which tenants' keys the data keys are wrapped under: what has to be known before an old one is taken away."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from records.database import reading
from records.seal import new_key
from records.tables import data_keys
from records.tenant_keys import KeyProvider

__all__ = ["KeyStanding", "key_standing"]


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """``newest``: the ids of the keys that wrap now, one or one for each tenant; ``behind``: how many data keys are
    wrapped under others."""

    newest: tuple[str, ...]
    behind: int


async def key_standing(engine: AsyncEngine, provider: KeyProvider) -> KeyStanding:
    """Of all tenants that have a data key. Raises RecordsUnavailable, KeysUnavailable, KeyMissing and SettingsFault."""
    column = data_keys.c
    query = (
        select(column.tenant, column.wrapped_by, func.count().label("number"))
        .where(column.wrapped.is_not(None))
        .group_by(column.tenant, column.wrapped_by)
    )
    async with reading(engine) as connection:
        found = (await connection.execute(query)).all()
    # a provider tells which of its keys is the newest by wrapping
    newest: dict[str, str] = {}
    for tenant in sorted({row.tenant for row in found}):
        newest[tenant] = (await provider.wrap(tenant, new_key())).by
    return KeyStanding(
        newest=tuple(sorted(set(newest.values()))),
        behind=sum(row.number for row in found if row.wrapped_by != newest[row.tenant]),
    )
