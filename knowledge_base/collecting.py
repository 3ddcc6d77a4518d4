"""Which snapshots nobody needs any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from knowledge_base.snapshot import SnapshotStore

__all__ = ["SnapshotDecision", "collect"]

_UNUSED = "no kept answer names it, and it is not current"


@dataclass(frozen=True, slots=True)
class SnapshotDecision:
    """Whether a snapshot stays, and why. ``removed`` once it is gone."""

    id: str
    bytes: int
    stays: bool
    why: str
    removed: bool = False


def collect(store: SnapshotStore, *, needed: Mapping[str, str], delete: bool) -> list[SnapshotDecision]:
    """Decides on each snapshot, the oldest first, and with ``delete`` removes those that do not stay.

    One stays where it is current, where it was made last (turns under way may have begun on it), or where ``needed``
    names it with the reason. Raises KnowledgeFault where the folder cannot be written, KnowledgeCorrupt for a pointer
    that cannot be read: then nothing is removed.
    """
    if not delete:
        return _decided(store, needed)
    with store.writing():
        return [decision if decision.stays else _removed(store, decision) for decision in _decided(store, needed)]


def _decided(store: SnapshotStore, needed: Mapping[str, str]) -> list[SnapshotDecision]:
    current, there = store.current(), store.all()
    reasons = dict(needed)
    for id_, _ in there[-2:]:
        reasons.setdefault(id_, "it was made last, or just before")
    if current is not None:
        reasons[current] = "it is current"
    return [SnapshotDecision(id_, size, id_ in reasons, reasons.get(id_, _UNUSED)) for id_, size in there]


def _removed(store: SnapshotStore, decision: SnapshotDecision) -> SnapshotDecision:
    store.remove(decision.id)
    return SnapshotDecision(decision.id, decision.bytes, stays=False, why=decision.why, removed=True)
