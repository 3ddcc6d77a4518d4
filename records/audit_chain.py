"""The hash chain of the audit, and the search for what was done to it. Pure: rows in, problems out.

A row's hash is the SHA-256 of its columns' canonical JSON, the hash of the row before among them. Columns that are
NULL are left out, so that a column added in years leaves the hashes of older rows as they are. The head keeps the
chain's length and last hash, so that rows cut off at the end are missed too.

Whoever can rewrite every row and the head can write another chain; receipts held elsewhere (each turn's workflow
history has its row's hash) show that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from records.audit_rows import Problem
from records.audit_stored import StoredRow

__all__ = ["BEGINNING", "GENESIS", "ChainCheck", "Head", "row_hash"]

GENESIS = "0" * 64
"""What stands for the hash before the first row."""

_TRIED_POSITIONS = 200
"""A row that does not match is tried at so many other positions, to tell a moved row from a changed one."""


def row_hash(columns: Mapping[Any, Any]) -> str:
    """The hash of a row of ``interaction_logs``: all its columns but ``hash`` itself."""
    kept = {name: _plain(value) for name, value in columns.items() if name != "hash" and value is not None}
    canonical = json.dumps(kept, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class Head:
    """Where a tenant's chain ends."""

    position: int
    hash: str


BEGINNING = Head(0, GENESIS)
"""Where a chain begins of which no row was removed."""


@dataclass(slots=True)
class ChainCheck:
    """Takes a tenant's rows in the order of their positions; :meth:`finish` gives what is wrong with them.
    ``tail``: the last row that retention removed, where the rows begin."""

    tenant: str
    head: Head | None
    tail: Head = BEGINNING
    _problems: list[Problem] = field(default_factory=list)
    _expected: int = field(init=False)
    _before: tuple[StoredRow, ...] = ()
    _unmatched: list[StoredRow] = field(default_factory=list)
    _missing: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._expected = self.tail.position + 1

    def take(self, row: StoredRow) -> None:
        id_, position = row.columns["id"], row.position
        if position is None:
            self._add("changed", id_, None, f"row {id_} is not as it was written: its position is no number")
            return
        if position <= self.tail.position:
            self._add("inserted", id_, position, f"row {id_} stands where rows were removed by retention")
            return
        if self.head is not None and position > self.head.position:
            self._add(
                "inserted",
                id_,
                position,
                f"row {id_} stands behind the head, which ends at position {self.head.position}",
            )
            return
        gap = position > self._expected
        if gap:
            self._removed(self._expected, position - 1)
        if not _matches(row):
            self._unmatched.append(row)
        elif not gap:
            self._check_link(row.columns["previous_hash"])
        self._before = (*self._before[-1:], row)
        self._expected = position + 1

    def finish(self) -> list[Problem]:
        """In the order of their positions."""
        if self.head is None:
            self._add("removed", None, self._expected, "the head of its chain is gone")
        elif self._expected <= self.head.position:
            self._removed(self._expected, self.head.position)
        else:
            self._check_link(self.head.hash)
        self._explain_unmatched()
        return sorted(self._problems, key=lambda problem: problem.position or 0)

    def _check_link(self, previous_hash: str) -> None:
        """The row before must have the hash that its follower, or the head, names."""
        hashes = [self.tail.hash, *(row.columns["hash"] for row in self._before)]
        if previous_hash == hashes[-1]:
            return
        if not self._before:
            self._add("removed", None, 0, "the first row names a row before it, which is not there")
            return
        row = self._before[-1]
        if self._unmatched and self._unmatched[-1] is row:
            return
        id_, position = row.columns["id"], row.position
        if previous_hash == hashes[-2]:
            self._add("inserted", id_, position, f"row {id_} was put in: no row after it names it")
        else:
            self._add("changed", id_, position, f"row {id_} was written with another hash")

    def _removed(self, first: int, last: int) -> None:
        self._missing.extend(range(first, min(last, first + _TRIED_POSITIONS) + 1))
        which = f"position {first}" if first == last else f"positions {first} to {last}"
        self._add("removed", None, first, f"{which}: no row stands there any more")

    def _explain_unmatched(self) -> None:
        """A row that would match at another position was moved; any other was changed."""
        positions = [*self._missing, *(row.columns["position"] for row in self._unmatched)][:_TRIED_POSITIONS]
        for row in self._unmatched:
            id_, position = row.columns["id"], row.position
            stood = [tried for tried in positions if _matches(row, position=tried)]
            if stood:
                self._add("reordered", id_, position, f"row {id_} stood at position {stood[0]}, not {position}")
                continue
            why = f"nobody wrote what stands in {', '.join(row.foreign)}" if row.foreign else "its hash does not match"
            self._add("changed", id_, position, f"row {id_} is not as it was written: {why}")

    def _add(self, kind: Any, id_: int | None, position: int | None, message: str) -> None:
        self._problems.append(Problem(self.tenant, kind, id_, position, f"tenant {self.tenant}: {message}."))


def _matches(row: StoredRow, **moved: int) -> bool:
    """Whether its hash is that of its columns; ``position``: if it stood there."""
    if row.foreign:
        return False
    try:
        return row_hash({**row.columns, **moved} if moved else row.columns) == row.columns["hash"]
    except RecursionError:  # JSON that is nested deeper than any row's
        return False
