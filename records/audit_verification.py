"""Holds the kept rows against their chain, its signed checkpoints, and what was signed of where the rows begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from records.audit_chain import BEGINNING, ChainCheck, Head
from records.audit_checkpoints import CheckpointCheck
from records.audit_rows import Problem
from records.audit_tails import Tail, kept_tails
from records.signing import Verifier
from records.tables import audit_checkpoints, audit_heads, interaction_logs

__all__ = ["verify_chains"]

logs, heads, signed = interaction_logs.c, audit_heads.c, audit_checkpoints.c


async def verify_chains(
    connection: AsyncConnection, keys: Verifier | None, tenant: str | None = None, *, until: Head | None = None
) -> list[Problem]:
    """The chain of one tenant, or of all. ``keys`` None: no signature is looked at. ``until``: only up to this row of
    the tenant's, which stands for the head."""
    rows, ends, checkpoints = select(interaction_logs), select(audit_heads), select(audit_checkpoints)
    if tenant is not None:
        rows, ends = rows.where(logs.tenant == tenant), ends.where(heads.tenant == tenant)
        checkpoints = checkpoints.where(signed.tenant == tenant)
    if until is not None:
        rows = rows.where(logs.position <= until.position)
        checkpoints = checkpoints.where(signed.position <= until.position)
    tails = await kept_tails(connection, tenant)
    checks: dict[str, _Check] = {}

    def check_of(name: str, end: Head | None = None) -> _Check:
        if name not in checks:
            checks[name] = _Check.of(name, end, tails.get(name), keys)
        return checks[name]

    for head in await connection.execute(ends):
        check_of(head.tenant, until or Head(head.position, head.hash))
    for name in tails:  # also where nothing else is left
        check_of(name)
    for kept in (await connection.execute(checkpoints)).mappings():
        check_of(kept["tenant"]).checkpoints.checkpoints[kept["position"]] = kept
    rows = rows.order_by(logs.tenant, logs.position).execution_options(yield_per=500)
    async for row in (await connection.stream(rows)).mappings():
        check_of(row["tenant"]).take(row)
    return [problem for name in sorted(checks) for problem in checks[name].finish()]


@dataclass(frozen=True, slots=True)
class _Check:
    """Of one tenant."""

    chain: ChainCheck
    checkpoints: CheckpointCheck
    unsigned: Tail | None

    @classmethod
    def of(cls, tenant: str, end: Head | None, tail: Tail | None, keys: Verifier | None) -> _Check:
        """A tail that does not hold is not believed: the rows before it are missing."""
        believed = tail is not None and tail.holds(keys)
        begin = tail.end if tail is not None and believed else BEGINNING
        return cls(
            ChainCheck(tenant, end, begin), CheckpointCheck(tenant, keys, begin.position), None if believed else tail
        )

    def take(self, row: Mapping[Any, Any]) -> None:
        self.chain.take(row)
        self.checkpoints.take(row)

    def finish(self) -> list[Problem]:
        told = [self.unsigned.problem()] if self.unsigned else []
        return [*told, *self.chain.finish(), *self.checkpoints.finish()]
