"""What one turn leaves in the audit, as the rest of Parley sees it and as columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError

from dialogue.base import Value
from dialogue.faults import RecordsConflict
from dialogue.steps import Citation, Usage, Verdict
from records.storable import storable

__all__ = [
    "AuditReceipt",
    "AuditRow",
    "ConversationSummary",
    "KeptFeedback",
    "KeptRow",
    "NamingAnswers",
    "Problem",
]


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

    def to_columns(self) -> dict[str, Any]:
        """By column of ``interaction_logs``, exactly as they come back from the database."""
        columns = {name: storable(value) for name, value in self.model_dump().items()}
        columns["timestamp"] = datetime.fromtimestamp(self.timestamp, UTC)
        return columns


class KeptRow(AuditRow):
    """A row as it stands in the audit. ``position`` counts 1, 2, 3 … within the tenant's chain. Of a user who was
    ``forgotten`` the texts are empty; ``data_key`` is the key that they were sealed with. ``damaged``: columns that are
    not as they were written, and are empty here (a ``timestamp`` is 0); the others are as they stand."""

    id: int
    position: int
    previous_hash: str
    hash: str
    data_key: str | None = None
    forgotten: bool = False
    damaged: tuple[str, ...] = ()

    @classmethod
    def of_columns(cls, columns: Mapping[Any, Any], *, forgotten: bool = False, damaged: tuple[str, ...] = ()) -> Self:
        """Raises RecordsConflict where what stands in a column that every row has is nothing of its kind."""
        more = {"timestamp": columns["timestamp"].timestamp(), "forgotten": forgotten, "damaged": damaged}
        try:
            return cls.model_validate({**columns, **more})
        except ValidationError as error:
            broken = tuple(dict.fromkeys(str(each["loc"][0]) for each in error.errors()))
        return cls.model_validate({**cls.without(broken, columns), **more, "damaged": (*damaged, *broken)})

    @staticmethod
    def without(damaged: Collection[str], columns: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """The columns, those left empty that are ``damaged``. Raises RecordsConflict for one that every row has."""
        if needed := [name for name in damaged if name not in _EMPTY]:
            raise RecordsConflict(
                f"audit row {columns['id']}: {', '.join(needed)}: not as it was written, and the row cannot be shown. "
                "`parley audit verify` names it; put back what stood there."
            )
        return {**columns, **{name: _EMPTY[name] for name in damaged}} if damaged else columns

    @property
    def damage(self) -> str:
        """One line that names the row and its damaged columns; empty where there are none."""
        if not self.damaged:
            return ""
        what = f"{', '.join(self.damaged)}: not as written, and left empty"
        return f"damaged: turn {self.turn} of {self.conversation} (row {self.id} of tenant {self.tenant}): {what}"


_EMPTY: Final = {
    **{name: field.get_default() for name, field in AuditRow.model_fields.items() if not field.is_required()},
    "input_text": "",
    "output_text": "",
    "timestamp": datetime.fromtimestamp(0, UTC),
}
"""What stands for a column that cannot be read."""


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
    kind: Literal["changed", "removed", "inserted", "reordered"]
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
class NamingAnswers:
    """How many kept answers name a thing, and which of them was the last."""

    count: int
    conversation: str
    turn: int

    def __str__(self) -> str:
        many = f"{self.count} kept answers name it, the last one" if self.count > 1 else "a kept answer names it:"
        return f"{many} turn {self.turn} of {self.conversation}"


@dataclass(frozen=True, slots=True)
class KeptFeedback:
    """``damaged``: the comment is not as it was written, and empty here."""

    conversation: str
    turn: int
    tenant: str
    user: str
    score: int
    comment: str
    timestamp: float
    damaged: bool = False

    def to_columns(self) -> dict[str, Any]:
        return {
            "conversation": storable(self.conversation),
            "turn": self.turn,
            "tenant": self.tenant,
            "user_id": self.user,
            "score": self.score,
            "comment": storable(self.comment),
            "timestamp": datetime.fromtimestamp(self.timestamp, UTC),
        }

    @classmethod
    def of_columns(cls, columns: Mapping[Any, Any], *, damaged: bool = False) -> Self:
        rest = {name: value for name, value in columns.items() if name not in ("user_id", "timestamp", "data_key")}
        return cls(**rest, user=columns["user_id"], timestamp=columns["timestamp"].timestamp(), damaged=damaged)
