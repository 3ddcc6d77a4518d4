"""What a reader of a turn is told, the same on every transport.

A turn's stream is made of the token log's events, as the tenant's policy lets them be seen. One event of the log may
become several here (``retract`` before ``retry``), so ids are ten times the log's, and count on from there: they only
grow within a turn, the same event has the same id on whatever gateway it is read, and a reader resumes behind any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dialogue.faults import ParleyFault
from dialogue.turn import FINAL_FIELDS, Reply
from gateway.problems import told
from gateway.usage import usage_of

__all__ = ["IDS_PER_LOGGED", "TurnEvent", "error_event", "final_event", "for_log"]

IDS_PER_LOGGED = 10


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """``kind`` is one of :data:`records.token_log.EVENT_KINDS`; ``data`` is what it tells, ready for JSON. ``at``:
    seconds since the epoch when that came about, where it is known; no reader is told."""

    id: int
    kind: str
    data: dict[str, Any]
    at: float | None = None


def final_event(id_: int, reply: Reply, trace_url: str) -> TurnEvent:
    """The reply itself as the last event: for a turn that waits for a person, or whose log was lost."""
    data = reply.model_dump(mode="json", include=set(FINAL_FIELDS))
    data |= {"usage": usage_of(reply.usage).model_dump(), "trace_url": trace_url}
    return TurnEvent(id_, "final", data, reply.answered_at)


def for_log(event: TurnEvent) -> dict[str, Any]:
    """What a log line about the turn learns from it: which one it is, and how it ended."""
    if event.kind not in ("accepted", "final"):
        return {}
    return {name: event.data[name] for name in ("turn", "verdict") if name in event.data}


def error_event(id_: int, fault: ParleyFault) -> TurnEvent:
    """What went wrong, in the words of problem details."""
    return TurnEvent(id_, "error", told(fault))
