"""How long what is kept is kept: one policy for streams, audit rows, try records, archived histories and payloads
outside of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import RecordsUnavailable
from dialogue.keeping import RemovedRecords
from records.archive import RunArchive
from records.database import reading, writing
from records.payload_store import OutsidePayloads
from records.statements import insert
from records.tables import audit_tails, audit_words, contents, feedback, interaction_logs
from records.token_log import TokenLog
from settings.retention import RetentionSettings

__all__ = ["Retention"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("records")

logs = interaction_logs.c


class Retention:
    """``days`` says how long; null keeps for good."""

    def __init__(
        self,
        engine: AsyncEngine,
        archive: RunArchive,
        token_log: TokenLog,
        days: RetentionSettings,
        payloads: OutsidePayloads | None = None,
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._token_log = token_log
        self._days = days
        self._payloads = payloads

    async def apply(self, now: datetime | None = None) -> RemovedRecords:
        """Removes what is older, and may be done again at any time. Raises RecordsUnavailable and
        TokenLogUnavailable."""
        now, days = now or datetime.now(UTC), self._days
        streams = await self._token_log.trim(days.token_log * 86_400)
        runs = 0 if days.archive is None else await self._archive.remove(now - timedelta(days=days.archive))
        rows = tries = 0
        if days.audit is not None:
            before = now - timedelta(days=days.audit)
            rows = sum([await self._trim_audit(tenant, before) for tenant in await self._tenants(before)])
            tries = await self._remove_tries(before)
        payloads = await self._remove_payloads()
        return RemovedRecords(streams=streams, runs=runs, payloads=payloads, audit_rows=rows, try_records=tries)

    async def _remove_payloads(self) -> int:
        """A store that refuses it is told of and costs nothing else: attempted again and again, it would keep the next
        run of the schedule from archiving."""
        if self._days.payloads is None or self._payloads is None:
            return 0
        try:
            return await self._payloads.trim(self._days.payloads * 86_400)
        except RecordsUnavailable as fault:
            log.warning("payloads not removed", fault=fault.type, reason=fault.message)
            return 0

    async def _tenants(self, before: datetime) -> list[str]:
        async with reading(self._engine) as connection:
            query = select(logs.tenant).where(logs.timestamp < before).distinct()
            return sorted(await connection.scalars(query))

    async def _trim_audit(self, tenant: str, before: datetime) -> int:
        """Removes the beginning of the tenant's chain, up to the first row that is kept. What is left is verified from
        the hash of the last row that went."""
        async with writing(self._engine) as connection:
            first_kept = select(func.min(logs.position)).where(logs.tenant == tenant, logs.timestamp >= before)
            end = await connection.scalar(first_kept)
            going = logs.tenant == tenant if end is None else (logs.tenant == tenant) & (logs.position < end)
            last = select(logs.position, logs.hash).where(going).order_by(logs.position.desc()).limit(1)
            tail = (await connection.execute(last)).one_or_none()
            if tail is None:
                return 0
            await _keep_tail(connection, tenant, tail.position, tail.hash)
            turns = select(logs.conversation).where(
                going, logs.conversation == feedback.c.conversation, logs.turn == feedback.c.turn
            )
            await connection.execute(delete(feedback).where(feedback.c.tenant == tenant, turns.exists()))
            gone = select(logs.id).where(going)
            await connection.execute(delete(audit_words).where(audit_words.c.row_id.in_(gone)))
            return (await connection.execute(delete(interaction_logs).where(going))).rowcount

    async def _remove_tries(self, before: datetime) -> int:
        """Of a turn that went, and of tries whose turn kept another one."""
        named = select(logs.record).where(logs.record.is_not(None))
        going = (contents.c.kind == "try") & (contents.c.timestamp < before) & contents.c.digest.not_in(named)
        async with writing(self._engine) as connection:
            return (await connection.execute(delete(contents).where(going))).rowcount


async def _keep_tail(connection: AsyncConnection, tenant: str, position: int, hash_: str) -> None:
    tail = {"tenant": tenant, "position": position, "hash": hash_, "timestamp": datetime.now(UTC)}
    statement = insert(connection, audit_tails).values(tail)
    new = {name: statement.excluded[name] for name in ("position", "hash", "timestamp")}
    await connection.execute(statement.on_conflict_do_update(index_elements=[audit_tails.c.tenant], set_=new))
