"""Where a tenant's rows begin after the retention removed older ones: position and hash of the last that went, signed.

Without the signature whoever may write rows could remove some, and say that the retention did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialogue.faults import RecordsConflict
from records.audit_chain import Head
from records.audit_rows import Problem
from records.audit_stored import stored_rows, undecoded
from records.database import reading, writing
from records.seal import place
from records.signing import Signer, Verifier
from records.statements import insert
from records.tables import audit_heads, audit_tails, interaction_logs

__all__ = ["Tail", "keep_tail", "kept_tails", "sign_tail"]

logs, tails = interaction_logs.c, audit_tails.c


@dataclass(frozen=True, slots=True)
class Tail:
    """``timestamp``: when the rows up to ``position`` were removed. ``key`` and ``signature``: None where it was not
    signed."""

    tenant: str
    position: int
    hash: str
    timestamp: datetime
    key: str | None = None
    signature: str | None = None

    @property
    def end(self) -> Head:
        """The last row that went."""
        return Head(self.position, self.hash)

    def holds(self, keys: Verifier | None) -> bool:
        """Whether one of these keys signed it. None: that cannot be looked at, and it is taken as it stands."""
        if keys is None:
            return True
        return keys.verify(self.key or "", _signed(self.tenant, self.end), self.signature or "")

    def problem(self) -> Problem:
        """What is said of one that does not hold."""
        return Problem(
            self.tenant,
            "removed",
            None,
            self.position,
            f"tenant {self.tenant}: the rows up to position {self.position} were removed, and no signature of this "
            "site's says that the retention did so and found them whole. If you know that it did, `parley audit accept "
            f"--tenant {self.tenant}` signs it.",
        )


async def kept_tails(connection: AsyncConnection, tenant: str | None = None) -> dict[str, Tail]:
    """By tenant: of this one, or of all. One whose values are none is no tail."""
    async with undecoded(connection):
        found = [row async for row in stored_rows(connection, audit_tails, tenant)]
    return {row.tenant: Tail(**row.columns) for row in found if not row.foreign}


async def keep_tail(
    connection: AsyncConnection, tenant: str, end: Head, signer: Signer | None, *, before: Tail | None
) -> bool:
    """In the place of ``before``; False, and nothing is written, where another one stands there by now.
    ``signer`` None: it is not signed."""
    row = {
        "tenant": tenant,
        "position": end.position,
        "hash": end.hash,
        "timestamp": datetime.now(UTC),
        "key": signer.id if signer else None,
        "signature": signer.sign(_signed(tenant, end)) if signer else None,
    }
    statement = insert(connection, audit_tails).values(row)
    if before is None:
        statement = statement.on_conflict_do_nothing()
    else:
        new = {name: statement.excluded[name] for name in row if name != "tenant"}
        same = (tails.position == before.position) & (tails.hash == before.hash)
        statement = statement.on_conflict_do_update(index_elements=[tails.tenant], set_=new, where=same)
    return (await connection.execute(statement.returning(tails.tenant))).first() is not None


async def sign_tail(engine: AsyncEngine, signer: Signer, tenant: str, *, sign: bool = True) -> Tail | None:
    """Signs where the tenant's rows begin, on the word of whoever asks for it. Returns what it was; None, and nothing
    is done, where it holds already, or nothing was removed. ``sign`` False: it is only looked at.

    Raises RecordsConflict where the rows that are there do not go on from it, and RecordsUnavailable.
    """
    async with reading(engine) as connection:
        tail = (await kept_tails(connection, tenant)).get(tenant)
        if tail is None or tail.holds(signer):
            return None
        if not await _goes_on(connection, tail):
            raise RecordsConflict(
                f"audit_tails: the rows of tenant {tenant} do not go on behind position {tail.position}. `parley audit "
                "verify` says what stands there; put back what is missing."
            )
    if sign:
        async with writing(engine) as connection:
            if not await keep_tail(connection, tenant, tail.end, signer, before=tail):
                raise RecordsConflict(f"audit_tails: that of tenant {tenant} was changed meanwhile. Look again.")
    return tail


async def _goes_on(connection: AsyncConnection, tail: Tail) -> bool:
    """Whether the first row that is there, or the head where there is none, names the last one that went."""
    first = select(logs.position - 1, logs.previous_hash).where(logs.tenant == tail.tenant).order_by(logs.position)
    found = (await connection.execute(first.limit(1))).one_or_none()
    if found is None:
        head = select(audit_heads.c.position, audit_heads.c.hash).where(audit_heads.c.tenant == tail.tenant)
        found = (await connection.execute(head)).one_or_none()
    return found is not None and Head(*found) == tail.end


def _signed(tenant: str, end: Head) -> bytes:
    return place("audit tail", tenant, end.position, end.hash)
