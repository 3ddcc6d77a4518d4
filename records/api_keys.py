"""API keys: made, looked up at each request, listed, revoked. Only a digest of a key's secret is kept.

A key reads ``plk_<id>_<secret>``. Its secret is 256 random bits, which nobody guesses however often: so a plain SHA-256
protects it, where a password would need a slow hash. A key is looked up by its id, and the secret compared in constant
time, so that neither an index nor a clock tells how near a guess was.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import InvalidRequest
from records.database import reading, writing
from records.tables import api_keys
from settings.access import EVERY_SCOPE, PREFIX

__all__ = ["ApiKey", "ApiKeys"]

LONGEST_NAME = 200
LONGEST_DAYS = 36_500
_KEY = re.compile(rf"{PREFIX}([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_NOBODY = hashlib.sha256(secrets.token_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key, without its secret. ``user`` None: the key speaks for whichever user it names."""

    id: str
    tenant: str
    user: str | None
    name: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is neither revoked nor over."""
        return self.revoked is None and (self.expires is None or at < self.expires)


class ApiKeys:
    """Every method may raise RecordsUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def create(
        self,
        tenant: str,
        *,
        user: str | None = None,
        scopes: Iterable[str] = ("chat",),
        name: str = "",
        days: float | None = None,
    ) -> tuple[str, ApiKey]:
        """The key itself, which cannot be had again, and what is kept of it. Raises InvalidRequest."""
        asked = _known(scopes)
        if len(name) > LONGEST_NAME:
            raise InvalidRequest(f"name: has {len(name)} characters. Use at most {LONGEST_NAME}.", field="name")
        if days is not None and not 0 < days <= LONGEST_DAYS:
            raise InvalidRequest(f"expires: must be more than 0 and at most {LONGEST_DAYS} days.", field="expires")
        now = datetime.now(UTC)
        id_, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        kept = ApiKey(
            id=id_,
            tenant=tenant,
            user=user,
            name=name,
            scopes=asked,
            created=now,
            expires=None if days is None else now + timedelta(days=days),
        )
        async with writing(self._engine) as connection:
            await connection.execute(api_keys.insert().values({**asdict(kept), "digest": _digest(secret)}))
        return f"{PREFIX}{id_}_{secret}", kept

    async def find(self, key: str) -> ApiKey | None:
        """The key, if it is one of ours and holds at this moment: one read by its id."""
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        id_, secret = parts.groups()
        async with reading(self._engine) as connection:
            row = (await connection.execute(select(api_keys).where(api_keys.c.id == id_))).mappings().one_or_none()
        same = hmac.compare_digest(_digest(secret), row["digest"] if row else _NOBODY)
        if row is None or not same:
            return None
        found = _kept(row)
        return found if found.holds(datetime.now(UTC)) else None

    async def known(self, tenant: str | None = None) -> list[ApiKey]:
        """Those of one tenant, or all, oldest first; revoked ones too."""
        query = select(api_keys).order_by(api_keys.c.created, api_keys.c.id)
        if tenant is not None:
            query = query.where(api_keys.c.tenant == tenant)
        async with reading(self._engine) as connection:
            return [_kept(row) for row in (await connection.execute(query)).mappings()]

    async def revoke(self, id_: str) -> ApiKey:
        """From its next request on the key is refused. Revoking it again changes nothing. Raises InvalidRequest."""
        async with writing(self._engine) as connection:
            await connection.execute(
                api_keys.update()
                .where(api_keys.c.id == id_, api_keys.c.revoked.is_(None))
                .values(revoked=datetime.now(UTC))
            )
            row = (await connection.execute(select(api_keys).where(api_keys.c.id == id_))).mappings().one_or_none()
        if row is None:
            raise InvalidRequest(f"id: there is no key {id_!r}. `parley keys list` shows them.", field="id")
        return _kept(row)


def _known(scopes: Iterable[str]) -> tuple[str, ...]:
    asked = set(scopes)
    for scope in sorted(asked - set(EVERY_SCOPE)):
        raise InvalidRequest(f"scope: there is no scope {scope!r}; there are {', '.join(EVERY_SCOPE)}.", field="scope")
    if not asked:
        raise InvalidRequest(f"scope: give at least one of {', '.join(EVERY_SCOPE)}.", field="scope")
    return tuple(scope for scope in EVERY_SCOPE if scope in asked)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _kept(row: Mapping[Any, Any]) -> ApiKey:
    kept = {name: row[name] for name in ApiKey.__dataclass_fields__}
    return ApiKey(**{**kept, "scopes": tuple(kept["scopes"])})
