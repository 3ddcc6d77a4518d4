"""Finds turns in the audit: from a complaint to the row."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.base import Value
from records.audit_rows import KeptRow
from records.audit_seal import TextSeal
from records.data_keys import DataKeys
from records.database import reading
from records.tables import interaction_logs

__all__ = ["AuditQuery", "find_rows", "text_matches"]

logs = interaction_logs.c


class AuditQuery(Value):
    """All that is given must hold. ``since`` and ``until`` are seconds since the epoch, the second not included;
    ``model`` is a name or the beginning of a digest; ``document`` is one that the answer cites; ``text`` are words of
    question, answer or reasoning."""

    tenant: str | None = None
    user: str | None = None
    since: float | None = None
    until: float | None = None
    verdict: tuple[str, ...] = ()
    intent: str | None = None
    model: str | None = None
    snapshot: str | None = None
    document: str | None = None
    conversation: str | None = None
    text: str | None = Field(default=None, min_length=1)


async def find_rows(
    engine: AsyncEngine, query: AuditQuery, *, keys: DataKeys | None = None, limit: int = 100
) -> list[KeptRow]:
    """The newest ``limit`` rows that match, newest first. ``keys`` open what is sealed; what cannot be opened holds no
    word and cites no document. Raises RecordsUnavailable and KeysUnavailable.
    """
    found: list[KeptRow] = []
    async with contextlib.aclosing(_rows(engine, _statement(query), TextSeal(keys))) as rows:
        async for row in rows:
            if _cites(row, query.document) and (query.text is None or text_matches(row, query.text)):
                found.append(row)
            if len(found) >= limit:
                break
    return found


def text_matches(row: KeptRow, text: str) -> bool:
    """Whether every word of ``text`` stands in the row's question, answer or reasoning, whatever its case and width.

    This reads the texts themselves; an index of keyed words may take its place.
    """
    held = _folded(f"{row.input_text}\n{row.output_text}\n{row.reasoning}")
    return all(word in held for word in _folded(text).split())


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _cites(row: KeptRow, document: str | None) -> bool:
    return document is None or any(citation.document == document for citation in row.citations)


def _statement(query: AuditQuery) -> Select[tuple[object, ...]]:
    statement = select(interaction_logs).order_by(logs.timestamp.desc(), logs.id.desc())
    equal = {
        logs.tenant: query.tenant,
        logs.user_id: query.user,
        logs.intent: query.intent,
        logs.conversation: query.conversation,
    }
    for column, value in equal.items():
        if value is not None:
            statement = statement.where(column == value)
    if query.since is not None:
        statement = statement.where(logs.timestamp >= datetime.fromtimestamp(query.since, UTC))
    if query.until is not None:
        statement = statement.where(logs.timestamp < datetime.fromtimestamp(query.until, UTC))
    if query.verdict:
        statement = statement.where(logs.verdict.in_(query.verdict))
    if query.model is not None:
        begins = logs.model_digest.startswith(query.model, autoescape=True)
        statement = statement.where((logs.model == query.model) | begins)
    if query.snapshot is not None:
        statement = statement.where(logs.snapshot.startswith(query.snapshot, autoescape=True))
    return statement


async def _rows(engine: AsyncEngine, statement: Select[tuple[object, ...]], seal: TextSeal) -> AsyncGenerator[KeptRow]:
    async with reading(engine) as connection:
        streamed = await connection.stream(statement.execution_options(yield_per=200))
        async for row in streamed.mappings():
            opened, gone = await seal.opened_row(row)
            yield KeptRow.of_columns(opened, forgotten=gone)
