"""The database of the records: an asynchronous engine from a URL, and its migrations."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["connect_database", "migrate"]


def connect_database(url: str) -> AsyncEngine:
    """An engine for ``sqlite+aiosqlite:///path`` or ``postgresql+asyncpg://user@host/name``. Connects when used."""
    raise NotImplementedError


async def migrate(url: str) -> None:
    """Brings the tables to what this version needs; safe when several processes do so at once.

    Raises RecordsUnavailable.
    """
    raise NotImplementedError
