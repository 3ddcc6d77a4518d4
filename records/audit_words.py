"""Which rows of the audit hold which words, without the words: a keyed index (HMAC) beside rows that are sealed.

A term is kept as the HMAC of itself under a key of its tenant's, cut to 16 bytes; who has the table and not the key
learns how often terms occur, and not which. What is a term says ``terms``: the knowledge base's
(:func:`knowledge_base.terms.terms`), stemmed English words, Chinese characters and their pairs.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence

import structlog
from sqlalchemy import CompoundSelect, delete, exists, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import KeyMissing, SealBroken
from records.data_keys import NOBODY, DataKeys
from records.statements import insert
from records.tables import audit_words, interaction_logs

__all__ = ["AuditWords"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("records")

_BYTES = 16
_IN_CLEAR = b"parley audit words"
"""The key where nothing is encrypted: the texts stand beside."""

words, logs = audit_words.c, interaction_logs.c


class AuditWords:
    """Every method may raise RecordsUnavailable and KeysUnavailable."""

    def __init__(
        self, engine: AsyncEngine, terms: Callable[[str], Iterable[str]], keys: DataKeys | None = None
    ) -> None:
        self._engine = engine
        self._terms = terms
        self._keys = keys

    def terms(self, *texts: str) -> set[str]:
        """What the index can hold of these texts."""
        return {term for text in texts for term in self._terms(text)}

    async def marks(self, tenant: str, texts: Sequence[str]) -> list[bytes]:
        """What stands in the index for these texts: nothing where the tenant's key for it does not open, which costs a
        search some time and no row. Not to be called within a transaction."""
        try:
            key = _IN_CLEAR if self._keys is None else (await self._keys.of_user(tenant, NOBODY)).key
        except (SealBroken, KeyMissing) as fault:
            log.warning("audit row not indexed", tenant=tenant, reason=fault.message)
            return []
        return _marks(key, self.terms(*texts))

    async def index(self, connection: AsyncConnection, tenant: str, row_id: int, marks: Sequence[bytes]) -> None:
        """Says that the row holds what ``marks`` are of, within the transaction that writes the row."""
        if marks:
            rows = [{"tenant": tenant, "word": mark, "row_id": row_id} for mark in marks]
            await connection.execute(insert(connection, audit_words).on_conflict_do_nothing(), rows)

    async def may_hold(self, tenant: str, terms: set[str]) -> CompoundSelect[int]:
        """Selects the ids of the tenant's rows that hold every one of the ``terms``, and of those that are not in the
        index: written before there was one, forgotten, or without a term. Where the tenant's key for the index does not
        open, every row may. ``terms`` are one at least. Makes no key."""
        keys = [_IN_CLEAR]  # a site may have begun to encrypt
        try:
            held = None if self._keys is None else await self._keys.held(tenant, NOBODY)
        except (SealBroken, KeyMissing):
            return union_all(select(logs.id).where(logs.tenant == tenant))
        if held is not None:
            keys.append(held.key)
        holding = (
            select(words.row_id)
            .where(words.tenant == tenant, words.word.in_(_marks(key, terms)))
            .group_by(words.row_id)
            .having(func.count() == len(terms))
            for key in keys
        )
        in_none = ~exists().where(words.row_id == logs.id)
        return union_all(*holding, select(logs.id).where(logs.tenant == tenant, in_none))

    async def forget(self, connection: AsyncConnection, tenant: str, user: str) -> None:
        """Takes the user's rows out of the index."""
        theirs = select(logs.id).where(logs.tenant == tenant, logs.user_id == user)
        await connection.execute(delete(audit_words).where(words.tenant == tenant, words.row_id.in_(theirs)))


def _marks(key: bytes, terms: Iterable[str]) -> list[bytes]:
    return [hmac.digest(key, term.encode("utf-8", "surrogatepass"), hashlib.sha256)[:_BYTES] for term in sorted(terms)]
