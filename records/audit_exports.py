"""Rows of the audit taken out of it, into a file: CSV or Parquet, in clear. That it was done is kept.

An export is out of reach when a user is forgotten; who forgets one is told which files hold their texts. So there is
none of texts whose user was forgotten while they were gathered.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import and_, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import InvalidRequest, KeyDestroyed, KeyMissing, RecordsUnavailable
from records.audit import AuditLog, KeptRow
from records.audit_reading import Unshown
from records.batches import in_batches
from records.database import reading, writing
from records.held_keys import Hold, hold_keys
from records.tables import audit_exports, audit_tails, interaction_logs

__all__ = ["COLUMNS", "AuditExports", "Export", "Written"]

COLUMNS = (
    "position", "id", "timestamp", "conversation", "turn", "message_id", "user_id", "ip_address", "input_text",
    "output_text", "reasoning", "language", "verdict", "intent", "confidence", "model", "model_digest", "snapshot",
    "policy_digest", "record", "citations", "usage", "note", "run_id", "latency_ms", "forgotten", "damaged",
    "previous_hash", "hash",
)  # fmt: skip
_JSON = ("citations", "usage")
_ROWS_AT_ONCE = 500

logs, exports = interaction_logs.c, audit_exports.c


@dataclass(frozen=True, slots=True)
class Export:
    """Rows ``first`` to ``last`` (positions) of a tenant's chain in a file. ``user`` None: of all its users."""

    tenant: str
    user: str | None
    first: int
    last: int
    place: str
    digest: str
    timestamp: datetime


class Written(NamedTuple):
    """An export, how many rows it holds, and a line of each row that is damaged. ``export`` None: none of the rows
    could be shown, and there is no file."""

    export: Export | None
    rows: int
    damaged: tuple[str, ...] = ()


class AuditExports:
    """Every method may raise RecordsUnavailable, and KeysUnavailable and KeyMissing where texts are sealed."""

    def __init__(self, engine: AsyncEngine, audit: AuditLog) -> None:
        self._engine = engine
        self._audit = audit

    async def write(
        self,
        path: Path,
        tenant: str,
        *,
        user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Written | None:
        """Writes ``path`` (``.csv`` or ``.parquet``), readable by its owner alone, and keeps that it was written.

        Returns None, and makes no file, where there are no such rows. A row that cannot be shown is left out and named.
        Raises KeyDestroyed, and makes no file, where a user whose rows were taken was forgotten meanwhile;
        InvalidRequest for another suffix, a file that is there already, and where the extra ``parquet`` is not
        installed.
        """
        writer = _writer(path)
        damaged: list[str] = []
        rows = self._rows(tenant, user, since, until, lambda fault: damaged.append(fault.message))
        span: list[int] = []
        opened: set[str] = set()
        count = 0
        written = _beside(path)
        try:
            with writer(written) as sink:
                async for batch in in_batches(rows, _ROWS_AT_ONCE):
                    sink.add([_shown(row) for row in batch])
                    span = [*span[:1], batch[0].position, batch[-1].position]
                    damaged += [f"{row.damage}." for row in batch if row.damaged]
                    opened |= {row.data_key for row in batch if row.data_key and not row.forgotten}
                    count += len(batch)
            if not count:
                return Written(None, 0, tuple(damaged)) if damaged else None
            digest = _digest(written)
            export = Export(tenant, user, span[0], span[-1], _absolute(path), digest, datetime.now(UTC))
            # before there is a file that nobody knows of
            await self.keep([export], partial(hold_keys, ids=opened))
            _put(written, path)
        finally:
            _remove(written)
        return Written(export, count, tuple(damaged))

    async def keep(self, written: Sequence[Export], hold: Hold) -> None:
        """Also for what others take out of the audit: a bundle of an incident review. ``hold`` holds the keys of all
        that is in the files. Raises KeyDestroyed where one of them was destroyed since, and keeps nothing then."""
        rows = [
            {
                "tenant": export.tenant,
                "user_id": export.user,
                "first": export.first,
                "last": export.last,
                "place": export.place,
                "digest": export.digest,
                "timestamp": export.timestamp,
            }
            for export in written
        ]
        try:
            async with writing(self._engine) as connection:
                await hold(connection)
                if rows:
                    await connection.execute(audit_exports.insert(), rows)
        except KeyDestroyed:
            raise KeyDestroyed(
                f"file: {written[0].place}: a user whose texts it was to hold was forgotten meanwhile. It was not "
                "written: export again."
            ) from None

    async def holding(self, tenant: str, user: str) -> list[Export]:
        """Those with rows of this user, oldest first; of everybody's also those of rows that the retention removed, of
        which nobody knows any more whose they were."""
        theirs = exists().where(
            logs.tenant == tenant, logs.user_id == user, logs.position.between(exports.first, exports.last)
        )
        removed = exists().where(audit_tails.c.tenant == tenant, audit_tails.c.position >= exports.first)
        query = select(audit_exports).where(
            exports.tenant == tenant,
            or_(exports.user_id == user, and_(exports.user_id.is_(None), or_(theirs, removed))),
        )
        async with reading(self._engine) as connection:
            found = (await connection.execute(query.order_by(exports.id))).mappings().all()
        return [
            Export(r["tenant"], r["user_id"], r["first"], r["last"], r["place"], r["digest"], r["timestamp"])
            for r in found
        ]

    async def _rows(
        self, tenant: str, user: str | None, since: datetime | None, until: datetime | None, unshown: Unshown
    ) -> AsyncIterator[KeptRow]:
        """A row whose moment is damaged is among them: nobody can say that it is not of that time."""
        least = since.timestamp() if since else float("-inf")
        most = until.timestamp() if until else float("inf")
        async with contextlib.aclosing(self._audit.rows(tenant, user=user, unshown=unshown)) as rows:
            async for row in rows:
                if not (least <= row.timestamp < most or "timestamp" in row.damaged):
                    continue
                if row.data_key and not self._audit.opens_sealed:
                    raise KeyMissing(
                        f"encryption.provider: is none, but rows of {tenant} are encrypted. Name the provider they "
                        "were written with."
                    )
                yield row


class _Csv:
    """UTF-8 with the mark that spreadsheets look for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._file = self._path.open("w", encoding="utf-8-sig", newline="")
        self._writer: csv.DictWriter[str] = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._writer.writerow({name: _safe(value) for name, value in row.items()})


class _Parquet:
    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"position": pa.int64(), "id": pa.int64(), "turn": pa.int32(), "latency_ms": pa.float64()}
        types |= {"confidence": pa.float64(), "timestamp": pa.timestamp("us", tz="UTC"), "forgotten": pa.bool_()}
        self._schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
        self._table, self._writer = pa.Table, pq.ParquetWriter(path, self._schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write_table(self._table.from_pylist(rows, schema=self._schema))


def _writer(path: Path) -> type[_Csv | _Parquet]:
    if path.exists():
        raise InvalidRequest(f"file: {path} is there already. Name another, or remove it.", field="file")
    if not path.parent.is_dir():
        raise InvalidRequest(f"file: there is no folder {path.parent}. Make it, or name another.", field="file")
    if path.suffix == ".csv":
        return _Csv
    if path.suffix != ".parquet":
        raise InvalidRequest(f"file: {path.name} must end with .csv or .parquet.", field="file")
    try:
        import pyarrow.parquet  # noqa: F401 asked for before any row is read
    except ModuleNotFoundError:
        raise InvalidRequest(
            "file: Parquet needs pyarrow, which is not installed. Run `pip install 'parley[parquet]'`, or name a .csv "
            "file.",
            field="file",
        ) from None
    return _Parquet


def _shown(row: KeptRow) -> dict[str, Any]:
    columns = row.model_dump(mode="json")
    columns |= {name: json.dumps(columns[name], ensure_ascii=False) for name in _JSON}
    columns["damaged"] = " ".join(row.damaged)
    columns["timestamp"] = None if "timestamp" in row.damaged else datetime.fromtimestamp(row.timestamp, UTC)
    return {name: columns[name] for name in COLUMNS}


def _safe(value: Any) -> Any:
    """A spreadsheet takes a text that begins so for a formula; a quote before it makes it a text."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _beside(path: Path) -> Path:
    """An empty file in the same folder, readable by its owner alone."""
    descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
    os.close(descriptor)
    return Path(written)


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _put(written: Path, path: Path) -> None:
    written.replace(path)


def _remove(written: Path) -> None:
    written.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RecordsUnavailable(f"file: {path} cannot be read again: {error.strerror}.") from error
