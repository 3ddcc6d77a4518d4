"""What one turn leaves in the audit, and how its hash is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from dialogue.base import Value
from dialogue.steps import Citation, Usage, Verdict

__all__ = ["AuditReceipt", "AuditRow", "ConversationSummary", "KeptFeedback", "KeptRow", "Problem"]


class AuditRow(Value):
    """One accepted message and what became of it: a line of ``interaction_logs``."""

    conversation: str
    turn: int = Field(ge=1)
    tenant: str
    user_id: str
    ip_address: str | None = None
    message_id: str
    input_text: str
    input_digest: str = ""
    output_text: str
    reasoning: str = ""
    timestamp: float = Field(description="seconds since the epoch, when the message was received; kept to the µs")
    latency_ms: float = Field(default=0.0, ge=0)
    language: str = "und"
    verdict: Verdict
    intent: str | None = None
    confidence: float | None = None
    model: str | None = None
    model_digest: str | None = None
    snapshot: str | None = None
    policy_digest: str | None = None
    record: str | None = None
    citations: tuple[Citation, ...] = ()
    usage: Usage = Usage()
    note: str = ""
    run_id: str = ""


class KeptRow(AuditRow):
    """A row as it stands in the audit. ``position`` counts 1, 2, 3 … within the tenant's chain."""

    id: int
    position: int
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditReceipt:
    """``created`` is False when an earlier attempt had written the row already."""

    id: int
    hash: str
    created: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a tenant's chain that is not as it was written. ``id`` and ``position``: of the row, if known."""

    tenant: str
    kind: Literal["changed", "removed", "inserted", "reordered", "head"]
    id: int | None
    position: int | None
    message: str


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """Times are seconds since the epoch."""

    conversation: str
    turns: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class KeptFeedback:
    conversation: str
    turn: int
    tenant: str
    user: str
    score: int
    comment: str
    timestamp: float
