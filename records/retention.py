"""How long what is kept is kept: one policy for streams, audit rows, try records, archived histories and payloads
outside of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import RecordsUnavailable, TokenLogUnavailable
from dialogue.keeping import RemovedRecords
from records.archive import RunArchive
from records.audit_chain import Head
from records.audit_tails import keep_tail, kept_tails
from records.audit_verification import verify_chains
from records.database import reading, writing
from records.payload_store import OutsidePayloads
from records.signing import Signer
from records.tables import audit_words, contents, feedback, interaction_logs
from records.token_log import TokenLog
from settings.retention import RetentionSettings

__all__ = ["Retention"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("records")

logs = interaction_logs.c


class Retention:
    """``days`` says how long; null keeps for good. ``signer`` signs where the audit's rows begin since; without it that
    is not done."""

    def __init__(
        self,
        engine: AsyncEngine,
        archive: RunArchive,
        token_log: TokenLog,
        days: RetentionSettings,
        payloads: OutsidePayloads | None = None,
        *,
        signer: Signer | None = None,
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._token_log = token_log
        self._days = days
        self._payloads = payloads
        self._signer = signer

    async def apply(self, now: datetime | None = None) -> RemovedRecords:
        """Removes what is older, and may be done again at any time. A token log or a payload store that refuses it is
        told of and costs nothing else: attempted again and again, it would keep the next run of the schedule from
        archiving. Raises RecordsUnavailable."""
        now, days = now or datetime.now(UTC), self._days
        streams = await self._remove_streams()
        runs = 0 if days.archive is None else await self._archive.remove(now - timedelta(days=days.archive))
        rows = tries = 0
        if days.audit is not None:
            before = now - timedelta(days=days.audit)
            rows = sum([await self._trim_audit(tenant, before) for tenant in await self._tenants(before)])
            tries = await self._remove_tries(before)
        payloads = await self._remove_payloads()
        return RemovedRecords(streams=streams, runs=runs, payloads=payloads, audit_rows=rows, try_records=tries)

    async def _remove_streams(self) -> int:
        try:
            return await self._token_log.trim(self._days.token_log * 86_400)
        except TokenLogUnavailable as fault:
            log.warning("streams not removed", fault=fault.type, reason=fault.message)
            return 0

    async def _remove_payloads(self) -> int:
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
        the hash of the last row that went, which is signed where all that went was whole."""
        async with reading(self._engine) as connection:
            tail = (await kept_tails(connection, tenant)).get(tenant)
            end = await _last_to_go(connection, tenant, before)
            if end is None:
                return 0
            problems = await verify_chains(connection, self._signer, tenant, until=end) if self._signer else []
        for problem in problems[:1]:
            log.warning("audit trimmed, not signed for", tenant=tenant, problems=len(problems), first=problem.message)
        if tail is not None and tail.holds(self._signer) and end.position <= tail.position:
            return 0  # what was put in there stays, and is named
        signer = None if problems else self._signer
        async with writing(self._engine) as connection:
            if not await keep_tail(connection, tenant, end, signer, before=tail):
                return 0  # another one removes just now
            going = (logs.tenant == tenant) & (logs.position <= end.position)
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


async def _last_to_go(connection: AsyncConnection, tenant: str, before: datetime) -> Head | None:
    """The one below the first that is kept."""
    first_kept = select(func.min(logs.position)).where(logs.tenant == tenant, logs.timestamp >= before)
    end = await connection.scalar(first_kept)
    going = logs.tenant == tenant if end is None else (logs.tenant == tenant) & (logs.position < end)
    last = select(logs.position, logs.hash).where(going).order_by(logs.position.desc()).limit(1)
    found = (await connection.execute(last)).one_or_none()
    return None if found is None else Head(*found)
