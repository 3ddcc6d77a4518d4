"""Checkpoints: every hundredth row's hash, signed, so that a chain cannot be written anew by whoever may write rows.

The key that signs is with the workers and not with the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from records.audit_rows import Problem
from records.audit_stored import StoredRow
from records.seal import place
from records.signing import Signer, Verifier
from records.statements import insert
from records.tables import audit_checkpoints

__all__ = ["EVERY", "CheckpointCheck", "keep_checkpoint"]

EVERY = 100


async def keep_checkpoint(connection: AsyncConnection, signer: Signer, tenant: str, position: int, hash_: str) -> None:
    """Within the transaction that writes the row."""
    row = {
        "tenant": tenant,
        "position": position,
        "hash": hash_,
        "timestamp": datetime.now(UTC),
        "key": signer.id,
        "signature": signer.sign(_signed(tenant, position, hash_)),
    }
    await connection.execute(insert(connection, audit_checkpoints).values(row).on_conflict_do_nothing())


@dataclass(slots=True)
class CheckpointCheck:
    """Holds a tenant's rows against its checkpoints. ``keys`` None: their signatures cannot be looked at. ``last``: the
    position up to which rows were seen, or taken away by the retention. ``head``: where the chain ends, if known."""

    tenant: str
    keys: Verifier | None
    last: int = 0
    head: int | None = None
    checkpoints: dict[int, Mapping[Any, Any]] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)

    def hold(self, checkpoint: StoredRow) -> None:
        """Before the rows are taken."""
        position = checkpoint.position
        if position is not None and not checkpoint.foreign:
            self.checkpoints[position] = checkpoint.columns
            return
        where = "no position" if position is None else f"position {position}"
        names = ", ".join(checkpoint.foreign)
        self._add(
            "changed", None, position,
            f"the checkpoint at {where} is not as it was written: nobody wrote what stands in {names}",
        )  # fmt: skip

    def take(self, row: StoredRow) -> None:
        position, id_ = row.position, row.columns["id"]
        if position is None:
            return
        self.last = max(self.last, position)
        kept = self.checkpoints.get(position)
        if kept is not None and kept["hash"] != row.columns["hash"]:
            self._add("changed", id_, position, f"row {id_} is not the one that was signed at position {position}")

    def finish(self) -> list[Problem]:
        self._find_gaps()
        for position, kept in self.checkpoints.items():
            signed = _signed(self.tenant, position, kept["hash"])
            if position > self.last:
                self._add("removed", None, position, f"the row that was signed at position {position} is gone")
            if self.keys is not None and not self.keys.verify(kept["key"], signed, kept["signature"]):
                self._add(
                    "changed", None, position,
                    f"the checkpoint at position {position} was not signed by this site's key",
                )  # fmt: skip
        return self._problems

    def _find_gaps(self) -> None:
        """From the first checkpoint to the last row of the chain."""
        first = min(self.checkpoints, default=0)
        last = self.last if self.head is None else min(self.last, self.head)
        if not first or last < first:
            return
        beyond = last + EVERY - (last - first) % EVERY
        expected = first
        for position in (*sorted(p for p in self.checkpoints if p < beyond and not (p - first) % EVERY), beyond):
            before = position - EVERY
            if expected == before:
                self._add("removed", None, expected, f"the checkpoint at position {expected} is gone")
            elif expected < before:  # at once: without a head the last row may stand at any position
                self._add("removed", None, expected, f"the checkpoints at positions {expected} to {before} are gone")
            expected = position + EVERY

    def _add(self, kind: Any, id_: int | None, position: int | None, message: str) -> None:
        self._problems.append(Problem(self.tenant, kind, id_, position, f"tenant {self.tenant}: {message}."))


def _signed(tenant: str, position: int, hash_: str) -> bytes:
    return place("audit checkpoint", tenant, position, hash_)
