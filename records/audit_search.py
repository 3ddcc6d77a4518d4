"""Finds turns in the audit: from a complaint to the row."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.base import Value
from dialogue.faults import InvalidRequest
from records.audit_reading import Unshown, kept_rows
from records.audit_rows import KeptRow
from records.audit_seal import TextSeal
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import reading
from records.tables import interaction_logs

__all__ = ["AuditQuery", "Sought", "find_rows"]

logs = interaction_logs.c

_PHRASE = re.compile(r'"([^"]+)"|“([^”]+)”|「([^」]+)」')


class AuditQuery(Value):
    """All that is given must hold. ``since`` and ``until`` are seconds since the epoch, the second not included;
    ``model`` is a name or the beginning of a digest; ``document`` is one that the answer cites; ``text`` are words of
    question and answer, as :class:`Sought` takes them."""

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
    engine: AsyncEngine,
    query: AuditQuery,
    *,
    words: AuditWords,
    keys: DataKeys | None = None,
    limit: int = 100,
    unshown: Unshown | None = None,
) -> list[KeptRow]:
    """The newest ``limit`` rows that match, newest first. ``keys`` open what is sealed; what cannot be opened holds no
    word and cites no document. A row whose texts or citations are damaged is given where nothing else speaks against
    it: whether they match cannot be told any more, and the row names them. ``words``: the index that says which rows
    may hold a text, so that those alone are opened, and the rows that were never put into it. ``unshown`` is told of
    rows that cannot be shown; without it they end the search. Raises InvalidRequest, RecordsConflict,
    RecordsUnavailable and KeysUnavailable.
    """
    statement, seal = _statement(query), TextSeal(keys)
    if query.text is None:
        return await _matching(kept_rows(engine, statement, seal, unshown), query, None, limit)
    sought, found = Sought(query.text, words), list[KeptRow]()
    for tenant in await _tenants(engine, query):
        theirs = statement.where(logs.tenant == tenant)
        if sought.terms:
            theirs = theirs.where(logs.id.in_(await words.may_hold(tenant, sought.terms)))
        found += await _matching(kept_rows(engine, theirs, seal, unshown), query, sought, limit)
    return sorted(found, key=lambda row: (row.timestamp, row.id), reverse=True)[:limit]


class Sought:
    """Words that a question and its answer must hold, all of them: one with a stem in any of its forms, any other (a
    function word, a script that the index does not know) as it stands, and so what is within quotation marks.

    Raises InvalidRequest for a text without a word.
    """

    def __init__(self, text: str, words: AuditWords) -> None:
        self._words = words
        phrases = [" ".join(next(filter(None, found)).split()) for found in _PHRASE.findall(text)]
        each = [word for word in re.sub(r'["“”「」]', " ", text).split() if any(map(str.isalnum, word))]
        self.terms = words.terms(text)
        self._literal = [_folded(part) for part in (*phrases, *(word for word in each if not words.terms(word)))]
        if not (self.terms or self._literal):
            raise InvalidRequest(
                f"text: {text!r} holds no word. Give one of the question or of the answer.", field="text"
            )

    def may_stand_in(self, row: KeptRow) -> bool:
        if not {"input_text", "output_text"}.isdisjoint(row.damaged):
            return True
        held = _folded(" ".join(f"{row.input_text}\n{row.output_text}".split()))
        if not all(part in held for part in self._literal):
            return False
        return self.terms <= self._words.terms(row.input_text, row.output_text)


async def _matching(
    rows: AsyncGenerator[KeptRow], query: AuditQuery, sought: Sought | None, limit: int
) -> list[KeptRow]:
    found: list[KeptRow] = []
    async with contextlib.aclosing(rows):
        async for row in rows:
            if _may_cite(row, query.document) and (sought is None or sought.may_stand_in(row)):
                found.append(row)
            if len(found) >= limit:
                break
    return found


async def _tenants(engine: AsyncEngine, query: AuditQuery) -> list[str]:
    """Each has an index of its own, under a key of its own."""
    if query.tenant is not None:
        return [query.tenant]
    async with reading(engine) as connection:
        return list(await connection.scalars(select(logs.tenant).distinct().order_by(logs.tenant)))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _may_cite(row: KeptRow, document: str | None) -> bool:
    if document is None or "citations" in row.damaged:
        return True
    return any(citation.document == document for citation in row.citations)


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
