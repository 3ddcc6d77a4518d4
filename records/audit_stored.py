"""Rows as the database holds them: whoever asks for some is shown all that is whole, and what is not is found.

Read as other queries read, one value that does not decode ends the whole query, and several stored values decode to
one: a date and a time with anything between them, JSON with other spaces. Here each value comes as it is stored, and
is held against what would be written.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any

from sqlalchemy import Column, ColumnElement, Dialect, Select, Table, Text, cast, extract, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from records.tables import Json, UtcDateTime

__all__ = ["StoredRow", "selected_rows", "stored_rows", "undecoded"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredRow:
    """``columns``: the values as they were given to be written. ``foreign``: the names of those that nobody wrote as
    they are stored: of another type, not to be decoded, or written otherwise. These stand as they are stored."""

    columns: dict[str, Any]
    foreign: tuple[str, ...] = ()

    @property
    def tenant(self) -> str:
        """Of bytes that are no text their notation in Python, which is no tenant's name."""
        tenant = self.columns["tenant"]
        return tenant if isinstance(tenant, str) else repr(tenant)

    @property
    def position(self) -> int | None:
        """None for what is no number."""
        return None if "position" in self.foreign else self.columns["position"]


async def stored_rows(
    connection: AsyncConnection, table: Table, tenant: str | None, *, last: int | None = None
) -> AsyncGenerator[StoredRow]:
    """The rows of a table that has ``tenant`` and ``position``, in the order of these. ``tenant`` None: of all;
    ``last``: up to this position. Within :func:`undecoded`."""
    query = select(table).order_by(table.c.tenant, table.c.position)
    if tenant is not None:
        query = query.where(table.c.tenant == tenant)
    if last is not None:
        query = query.where(table.c.position <= last)
    async with aclosing(selected_rows(connection, table, query)) as rows:
        async for row in rows:
            yield row


async def selected_rows(connection: AsyncConnection, table: Table, query: Select[Any]) -> AsyncGenerator[StoredRow]:
    """The rows that a query of the table selects, whole. Within :func:`undecoded`."""
    reader = _reader(table, connection.dialect)
    query = query.with_only_columns(*reader.undecoded).execution_options(yield_per=_ROWS_AT_ONCE)
    async for fetched in (await connection.stream(query)).partitions():  # one by one takes twice as long
        for values in fetched:
            yield reader.row(values)


@asynccontextmanager
async def undecoded(connection: AsyncConnection) -> AsyncIterator[None]:
    """SQLite keeps any bytes as a text: those that are no UTF-8 come as bytes. PostgreSQL takes none such."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = (await connection.get_raw_connection()).driver_connection
    before, driver.text_factory = driver.text_factory, _text_or_bytes
    try:
        yield
    finally:
        driver.text_factory = before


def _text_or_bytes(stored: bytes) -> str | bytes:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


class _Reader:
    """Of one table in one kind of database."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        columns = list(table.columns)
        undecoded = _undecoded_postgresql if dialect.name == "postgresql" else _undecoded
        self.undecoded = [undecoded(column) for column in columns]
        self._types = {c.name: str if _is_encoded(c) else c.type.python_type for c in columns}
        self._decoders = {c.name: _decoder(c, dialect) for c in columns if _is_encoded(c)}
        self._foreign: dict[tuple[type, ...], frozenset[str]] = {}  # by the types of a row's values: there are few

    def row(self, stored: Sequence[Any]) -> StoredRow:
        columns = dict(zip(self._types, stored, strict=True))
        foreign = self._of_other_types(stored)
        for name, decode in self._decoders.items():
            if columns[name] is None or name in foreign:
                continue
            try:
                columns[name] = decode(columns[name])
            except (ValueError, OverflowError, RecursionError):
                foreign = foreign | {name}
        return StoredRow(columns, tuple(name for name in columns if name in foreign) if foreign else ())

    def _of_other_types(self, stored: Sequence[Any]) -> frozenset[str]:
        types = tuple(map(type, stored))
        if types not in self._foreign:
            fitting = zip(self._types.items(), types, strict=True)
            self._foreign[types] = frozenset(n for (n, t), found in fitting if found not in (t, NoneType))
        return self._foreign[types]


_reader = lru_cache(maxsize=16)(_Reader)


def _is_encoded(column: Column[Any]) -> bool:
    return isinstance(column.type, Json | UtcDateTime)


def _undecoded(column: Column[Any]) -> ColumnElement[Any]:
    return type_coerce(column, NullType()).label(column.name)


def _undecoded_postgresql(column: Column[Any]) -> ColumnElement[Any]:
    """asyncpg decodes JSON itself, and ends the query at a moment before the year 1 or after 9999."""
    if not _is_encoded(column):
        return _undecoded(column)
    text = cast(column if isinstance(column.type, Json) else extract("epoch", column), Text)
    return text.label(column.name)


def _decoder(column: Column[Any], dialect: Dialect) -> Callable[[str], Any]:
    """Raises ValueError, OverflowError or RecursionError for a text that nobody wrote."""
    if isinstance(column.type, Json):
        return _faithful(json.loads, json.dumps)
    if dialect.name == "postgresql":
        return _moment
    type_: Any = column.type.dialect_impl(dialect)
    return _faithful(type_.result_processor(dialect, None), type_.bind_processor(dialect))


def _faithful(read: Callable[[str], Any], write: Callable[[Any], str]) -> Callable[[str], Any]:
    def decode(stored: str) -> Any:
        value = read(stored)
        if write(value) != stored:
            raise ValueError("the same value is written otherwise")
        return value

    return decode


def _moment(seconds: str) -> datetime:
    """``seconds`` since the epoch, to the microsecond."""
    return _EPOCH + timedelta(microseconds=int(Decimal(seconds) * 1_000_000))
