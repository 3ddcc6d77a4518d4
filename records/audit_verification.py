"""Holds the kept rows against their chain, its signed checkpoints, and what was signed of where the rows begin."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from records.audit_chain import BEGINNING, ChainCheck, Head
from records.audit_checkpoints import CheckpointCheck
from records.audit_rows import Problem
from records.audit_stored import StoredRow, stored_rows, undecoded
from records.audit_tails import Tail, kept_tails
from records.signing import Verifier
from records.tables import audit_checkpoints, audit_heads, interaction_logs

__all__ = ["verify_chains"]


async def verify_chains(
    connection: AsyncConnection, keys: Verifier | None, tenant: str | None = None, *, until: Head | None = None
) -> list[Problem]:
    """The chain of one tenant, or of all. ``keys`` None: no signature is looked at. ``until``: only up to this row of
    the tenant's, which stands for the head."""
    last = until.position if until else None
    checks: dict[str, _Check] = {}
    async with undecoded(connection):
        tails = await kept_tails(connection, tenant)

        def check_of(name: str, end: Head | None = None) -> _Check:
            if name not in checks:
                checks[name] = _Check.of(name, end, tails.get(name), keys)
            return checks[name]

        async for head in stored_rows(connection, audit_heads, tenant):
            # one whose values are none is no head
            stands = None if head.foreign else Head(head.columns["position"], head.columns["hash"])
            check_of(head.tenant, until or stands)
        for name in tails:  # also where nothing else is left
            check_of(name)
        async for kept in stored_rows(connection, audit_checkpoints, tenant, last=last):
            check_of(kept.tenant).checkpoints.hold(kept)
        async for row in stored_rows(connection, interaction_logs, tenant, last=last):
            check_of(row.tenant).take(row)
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
        checkpoints = CheckpointCheck(tenant, keys, begin.position, end.position if end else None)
        return cls(ChainCheck(tenant, end, begin), checkpoints, None if believed else tail)

    def take(self, row: StoredRow) -> None:
        self.chain.take(row)
        self.checkpoints.take(row)

    def finish(self) -> list[Problem]:
        told = [self.unsigned.problem()] if self.unsigned else []
        return [*told, *self.chain.finish(), *self.checkpoints.finish()]
