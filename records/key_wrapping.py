"""Wrapping data keys under a tenant's newest key, and not under one that was made because the right one is lost.

A worker that finds no key file makes one. What is sealed under that would be lost when the right file comes back.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dialogue.faults import KeyMissing
from records.tables import data_keys
from records.tenant_keys import KeyProvider, Wrapped

__all__ = ["NOBODY", "KeyWrapping"]

NOBODY = ""
"""The tenant of what is nobody's yet, and the user of what is a tenant's own: no caller can be called so."""
_LOOKED_AT = 5
"""Keys of tenants, the oldest first. In a key service a tenant may have one of its own, which was taken away since."""

keys = data_keys.c


class KeyWrapping:
    """Every method may raise RecordsUnavailable, KeysUnavailable and KeyMissing."""

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider
        self._checked: set[tuple[str, str]] = set()

    async def wrap(self, connection: AsyncConnection, tenant: str, key: bytes) -> Wrapped:
        """Raises KeyMissing where the tenant's data keys are under other keys, of which none opens; of a tenant that
        has none, and of what is nobody's, where everybody's are."""
        wrapped = await self._provider.wrap(tenant, key)
        if (tenant, wrapped.by) not in self._checked:
            await self._check(connection, tenant, wrapped.by)
            self._checked.add((tenant, wrapped.by))
        return wrapped

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        """Raises SealBroken where it is another tenant's."""
        return await self._provider.unwrap(tenant, wrapped)

    async def _check(self, connection: AsyncConnection, tenant: str, new: str) -> None:
        whose = [keys.wrapped.is_not(None)]
        by_age = select(keys.wrapped_by).group_by(keys.wrapped_by).order_by(func.min(keys.created)).limit(_LOOKED_AT)
        found: list[str] = []
        if tenant != NOBODY:
            own = [*whose, keys.tenant == tenant]
            found = list((await connection.execute(by_age.where(*own))).scalars())
            whose = own if found else whose
        found = found or list((await connection.execute(by_age.where(*whose))).scalars())
        if not found or found[0] == new:  # the oldest is under it: it was there before whatever else is
            return
        missing: KeyMissing | None = None
        for by in found:
            if by == new:
                continue
            query = select(keys.tenant, keys.wrapped).where(*whose, keys.wrapped_by == by).limit(1)
            row = (await connection.execute(query)).one()
            try:
                await self._provider.unwrap(row.tenant, Wrapped(by, row.wrapped))
            except KeyMissing as fault:
                missing = missing or fault
            else:
                return
        if missing is not None:
            raise missing
