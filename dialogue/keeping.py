"""What the keeping of records is asked for and what it did."""

from __future__ import annotations

from pydantic import Field

from dialogue.base import Value

__all__ = ["ArchiveRuns", "ArchivedRuns", "ClosedRun", "KeptRecords", "RemovedRecords"]


class ClosedRun(Value):
    """Names a run."""

    workflow_id: str
    run_id: str


class ArchiveRuns(Value):
    """Asks for every run that was closed since then, of all that the server still has where it is None, and for those
    that a sweep before could not archive."""

    since: float | None = Field(default=None, description="seconds since 1970")
    again: tuple[ClosedRun, ...] = ()


class ArchivedRuns(Value):
    """Closed runs that were ``seen``, how many of them were archived now, and which could not be: the next sweep tries
    them again, until the server forgets them."""

    until: float = Field(description="what was closed before then is archived, or failed; seconds since 1970")
    seen: int = 0
    archived: int = 0
    failed: tuple[ClosedRun, ...] = ()


class RemovedRecords(Value):
    """How many of each were older than the settings keep them."""

    streams: int = 0
    runs: int = 0
    payloads: int = 0
    audit_rows: int = 0
    try_records: int = 0


class KeptRecords(Value):
    """One run of the schedule."""

    archived: ArchivedRuns
    removed: RemovedRecords
