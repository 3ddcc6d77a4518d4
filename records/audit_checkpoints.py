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
    position up to which rows were seen, or taken away by the retention."""

    tenant: str
    keys: Verifier | None
    last: int = 0
    checkpoints: dict[int, Mapping[Any, Any]] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)

    def take(self, row: Mapping[Any, Any]) -> None:
        position = row["position"]
        self.last = max(self.last, position)
        kept = self.checkpoints.get(position)
        if kept is not None and kept["hash"] != row["hash"]:
            self._add(
                "changed", row["id"], position,
                f"row {row['id']} is not the one that was signed at position {position}",
            )  # fmt: skip

    def finish(self) -> list[Problem]:
        first = min(self.checkpoints, default=0)
        for position in range(first, self.last + 1, EVERY) if first else ():
            if position not in self.checkpoints:
                self._add("removed", None, position, f"the checkpoint at position {position} is gone")
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

    def _add(self, kind: Any, id_: int | None, position: int, message: str) -> None:
        self._problems.append(Problem(self.tenant, kind, id_, position, f"tenant {self.tenant}: {message}."))


def _signed(tenant: str, position: int, hash_: str) -> bytes:
    return place("audit checkpoint", tenant, position, hash_)
