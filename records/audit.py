"""The audit: one row for every accepted message, exactly once, in a hash chain per tenant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import KeyDestroyed, RecordsConflict, RecordsUnavailable
from records.audit_chain import GENESIS, Head, row_hash
from records.audit_checkpoints import EVERY, keep_checkpoint
from records.audit_reading import Unshown, few_rows, kept_rows
from records.audit_rows import (
    AuditReceipt,
    AuditRow,
    ConversationSummary,
    KeptFeedback,
    KeptRow,
    NamingAnswers,
    Problem,
)
from records.audit_seal import SEALED, Opened, TextSeal
from records.audit_verification import verify_chains
from records.audit_words import AuditWords
from records.data_keys import DataKeys
from records.database import reading, writing
from records.signing import Signer
from records.statements import insert
from records.tables import audit_heads, feedback, interaction_logs

__all__ = [
    "AuditLog",
    "AuditReceipt",
    "AuditRow",
    "ConversationSummary",
    "KeptFeedback",
    "KeptRow",
    "NamingAnswers",
    "Problem",
]

logs = interaction_logs.c

_OF_THE_ATTEMPT = frozenset({"latency_ms", "run_id"})
"""Columns that say which attempt wrote the row, and not what happened in the turn."""


class AuditLog:
    """Every method may raise RecordsUnavailable, and KeysUnavailable and KeyMissing where texts are sealed.

    ``keys`` seal the texts; ``words`` makes rows findable by what they say; ``signer`` signs checkpoints. Without them
    that is not done; what is sealed reads as forgotten. A text that was damaged reads as empty, and its row names it.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        keys: DataKeys | None = None,
        *,
        words: AuditWords | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._engine = engine
        self._seal = TextSeal(keys)
        self._words = words
        self._signer = signer

    @property
    def opens_sealed(self) -> bool:
        """Whether it has keys. Without them a sealed row reads like a forgotten user's."""
        return self._seal.has_keys

    async def append(self, row: AuditRow) -> AuditReceipt:
        """Writes the row once, however often attempted, by however many processes at once.

        Raises RecordsConflict when this conversation and turn hold another content, and KeyDestroyed for a turn that
        was under way when its user was forgotten. ``latency_ms`` and ``run_id`` say which attempt wrote the row; they
        are kept of the first and not compared.
        """
        columns = row.to_columns()
        sealed = self._seal.remembered_row(columns)
        if sealed is not None:
            with suppress(KeyDestroyed):  # its user was forgotten elsewhere since, and may be back
                return await self._write(row, columns, sealed)
        sealed = await self._seal.row(columns)
        if sealed is None:  # their first row, or one attempted again since they were forgotten: that makes no key
            async with reading(self._engine) as connection:
                kept = await _kept(connection, row)
            if kept is not None:
                return _same(columns, await self._seal.opened_row(kept))
            sealed = await self._seal.first_row(columns)
        return await self._write(row, columns, sealed)

    async def _write(self, row: AuditRow, columns: Mapping[str, Any], sealed: Mapping[str, Any]) -> AuditReceipt:
        marks = await self._marks(row)
        try:
            async with writing(self._engine) as connection:
                head = await _locked_head(connection, row.tenant)
                kept = await _kept(connection, row)
                if kept is None:
                    await self._seal.hold(connection, sealed)
                    receipt, position = await _append(connection, sealed, head)
                    if self._words is not None:
                        await self._words.index(connection, row.tenant, receipt.id, marks)
                    if self._signer is not None and position % EVERY == 0:
                        await keep_checkpoint(connection, self._signer, row.tenant, position, receipt.hash)
                    return receipt
        except IntegrityError as error:
            # Another tenant's append of this conversation and turn, under another head, was first.
            async with reading(self._engine) as connection:
                kept = await _kept(connection, row)
            if kept is None:
                raise RecordsUnavailable(
                    f"audit_heads: the chain of tenant {row.tenant} cannot go on from its head: {error.orig}. "
                    "Look with `AuditLog.verify`, and restore the tables."
                ) from error
        return _same(columns, await self._seal.opened_row(kept))

    async def _marks(self, row: AuditRow) -> list[bytes]:
        return [] if self._words is None else await self._words.marks(row.tenant, [row.input_text, row.output_text])

    async def verify(self, tenant: str | None = None) -> list[Problem]:
        """Reads the chain of one tenant, or of all, and names every row that is not as it was written."""
        async with reading(self._engine) as connection:
            return await verify_chains(connection, self._signer, tenant)

    def rows(self, tenant: str, *, user: str | None = None, unshown: Unshown | None = None) -> AsyncGenerator[KeptRow]:
        """A tenant's rows in the order of the chain. ``unshown`` is told of those that cannot be shown; without it they
        end the look with RecordsConflict."""
        query = select(interaction_logs).where(logs.tenant == tenant)
        if user is not None:
            query = query.where(logs.user_id == user)
        return kept_rows(self._engine, query.order_by(logs.position), self._seal, unshown)

    async def tenants(self) -> list[str]:
        """Those that have a chain."""
        async with reading(self._engine) as connection:
            found = await connection.execute(select(audit_heads.c.tenant).order_by(audit_heads.c.tenant))
            return list(found.scalars())

    async def turns(
        self, conversation: str, tenant: str, *, limit: int = 50, before: int | None = None
    ) -> list[KeptRow]:
        """The last ``limit`` turns (below turn ``before``), oldest first."""
        query = select(interaction_logs).where(logs.conversation == conversation, logs.tenant == tenant)
        if before is not None:
            query = query.where(logs.turn < before)
        return (await few_rows(self._engine, query.order_by(logs.turn.desc()).limit(limit), self._seal))[::-1]

    async def is_foreign(self, conversation: str, tenant: str) -> bool:
        """Whether it holds turns of another tenant."""
        query = select(logs.id).where(logs.conversation == conversation, logs.tenant != tenant).limit(1)
        async with reading(self._engine) as connection:
            return (await connection.execute(query)).first() is not None

    async def by_id(self, id_: int, tenant: str | None = None) -> KeptRow | None:
        """The row of a receipt; with ``tenant``, only if it is theirs."""
        query = select(interaction_logs).where(logs.id == id_)
        if tenant is not None:
            query = query.where(logs.tenant == tenant)
        return next(iter(await few_rows(self._engine, query, self._seal)), None)

    async def conversations(self, tenant: str, *, limit: int = 100) -> list[ConversationSummary]:
        """Those with the newest rows first."""
        query = (
            select(logs.conversation, func.count(), func.min(logs.timestamp), func.max(logs.timestamp))
            .where(logs.tenant == tenant)
            .group_by(logs.conversation)
            .order_by(func.max(logs.position).desc())
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            found = (await connection.execute(query)).all()
        return [ConversationSummary(name, turns, a.timestamp(), z.timestamp()) for name, turns, a, z in found]

    async def count(self, tenant: str | None = None) -> int:
        """Rows, of one tenant or of all."""
        query = select(func.count()).select_from(interaction_logs)
        if tenant is not None:
            query = query.where(logs.tenant == tenant)
        async with reading(self._engine) as connection:
            return (await connection.execute(query)).scalar_one()

    async def naming(self, what: Literal["model_digest", "snapshot"]) -> dict[str, NamingAnswers]:
        """By the digest of a model, or the id of a knowledge snapshot: the kept answers that were made with it."""
        column = logs[what]
        query = select(column, func.count(), func.max(logs.id)).where(column.is_not(None)).group_by(column)
        place = select(logs.id, logs.conversation, logs.turn)
        async with reading(self._engine) as connection:
            found = [row for row in (await connection.execute(query)).all() if row[0]]
            last = place.where(logs.id.in_([row[2] for row in found]))
            places = {row.id: (row.conversation, row.turn) for row in await connection.execute(last)}
        return {name: NamingAnswers(count, *places[newest]) for name, count, newest in found}

    async def keep_feedback(
        self,
        *,
        conversation: str,
        turn: int,
        tenant: str,
        user: str,
        score: int,
        comment: str = "",
        under_way: bool = False,
    ) -> None:
        """One opinion per conversation, turn and user: the last one wins. Another tenant's is left as it is.

        ``under_way``: a workflow had it first, and may hand it on again after whose it is was forgotten. It raises
        KeyDestroyed then, and makes no key.
        """
        given = KeptFeedback(conversation, turn, tenant, user, score, comment, datetime.now(UTC).timestamp())
        columns = given.to_columns()
        if under_way:
            await self._seal.refuse_forgotten(columns)
        sealed = await self._seal.feedback(columns)
        async with writing(self._engine) as connection:
            if under_way:
                await self._seal.hold(connection, sealed)
            statement = insert(connection, feedback).values(sealed)
            new = statement.excluded
            statement = statement.on_conflict_do_update(
                index_elements=[feedback.c.conversation, feedback.c.turn, feedback.c.user_id],
                set_={name: new[name] for name in ("score", "comment", "timestamp", "data_key")},
                where=feedback.c.tenant == new.tenant,
            )
            await connection.execute(statement)

    async def feedback(self, conversation: str, tenant: str) -> list[KeptFeedback]:
        """All that was said of a conversation's answers, by turn and user."""
        query = select(feedback).where(feedback.c.conversation == conversation, feedback.c.tenant == tenant)
        async with reading(self._engine) as connection:
            found = (await connection.execute(query.order_by(feedback.c.turn, feedback.c.user_id))).mappings().all()
        opened = [await self._seal.opened_feedback(row) for row in found]
        return [KeptFeedback.of_columns(each.columns, damaged=bool(each.damaged)) for each in opened]


async def _locked_head(connection: AsyncConnection, tenant: str) -> Head:
    """The end of the tenant's chain; until the transaction ends, nobody else appends to that chain."""
    first = {"tenant": tenant, "last_id": 0, "position": 0, "hash": GENESIS}
    await connection.execute(insert(connection, audit_heads).values(first).on_conflict_do_nothing())
    query = select(audit_heads.c.position, audit_heads.c.hash).where(audit_heads.c.tenant == tenant)
    position, hash_ = (await connection.execute(query.with_for_update())).one()
    return Head(position, hash_)


async def _kept(connection: AsyncConnection, row: AuditRow) -> Mapping[Any, Any] | None:
    query = select(interaction_logs).where(logs.conversation == row.conversation, logs.turn == row.turn)
    return (await connection.execute(query)).mappings().one_or_none()


async def _append(connection: AsyncConnection, columns: Mapping[str, Any], head: Head) -> tuple[AuditReceipt, int]:
    id_, position = await _next_id(connection), head.position + 1
    columns = {**columns, "id": id_, "position": position, "previous_hash": head.hash}
    hash_ = row_hash(columns)
    await connection.execute(interaction_logs.insert().values({**columns, "hash": hash_}))
    await connection.execute(
        audit_heads.update()
        .where(audit_heads.c.tenant == columns["tenant"])
        .values(last_id=id_, position=position, hash=hash_)
    )
    return AuditReceipt(id_, hash_, created=True), position


async def _next_id(connection: AsyncConnection) -> int:
    """The id is drawn beforehand, because the hash covers it."""
    if connection.dialect.name == "postgresql":
        drawn = await connection.execute(text("SELECT nextval(pg_get_serial_sequence('interaction_logs', 'id'))"))
    else:  # nobody else writes while this transaction does
        # Of both: a lost head must not stop other tenants, nor a lost row give its id away again.
        last = [select(func.coalesce(func.max(c), 0)).scalar_subquery() for c in (logs.id, audit_heads.c.last_id)]
        drawn = await connection.execute(select(func.max(*last) + 1))
    return drawn.scalar_one()


def _same(columns: Mapping[str, Any], kept: Opened) -> AuditReceipt:
    """The first receipt. Raises RecordsConflict, naming the columns that differ (never their values)."""
    unknown = {*_OF_THE_ATTEMPT, *(SEALED if kept.forgotten else ()), *kept.damaged}
    stands = kept.columns
    differing = [name for name, value in columns.items() if name not in unknown and stands[name] != value]
    if differing:
        raise RecordsConflict(
            f"turn {columns['turn']} of conversation {columns['conversation']} was recorded with another "
            f"{', '.join(differing)}. The first record stays; give the new message a turn of its own."
        )
    return AuditReceipt(stands["id"], stands["hash"], created=False)
