"""What can be opened of a turn beside its steps: its events, its prompt, its row in the audit."""

from __future__ import annotations

from dialogue.base import Value
from dialogue.faults import ContentMissing, NoSuchHistory
from records.audit_rows import KeptRow
from replay.chain import Chain
from replay.events import attributes, failure_line, kind, seconds, value_of
from replay.evidence import Evidence
from replay.turns import Turn

__all__ = ["AuditShown", "EventLine", "audit_of", "event_lines", "held_against", "prompt_of"]


class EventLine(Value):
    """``offset``: seconds from the turn's beginning. ``what``: the activity, the update, the failure …"""

    id: int
    offset: float
    kind: str
    what: str = ""


class AuditShown(Value):
    """The turn's row. ``matches``: whether its hash is the one that the history was given as a receipt; ``None`` where
    the history has none."""

    row: KeptRow | None
    matches: bool | None


def event_lines(chain: Chain, turn: Turn) -> tuple[EventLine, ...]:
    """The turn's events in the order of the history. Raises NoSuchHistory where its run is not there."""
    run = next((each for number, each in enumerate(chain.runs, 1) if number == turn.run), None)
    if run is None:
        raise NoSuchHistory(f"run: the run of turn {turn.turn} is not in this history.", field="run")
    mine = set(turn.events)
    return tuple(
        EventLine(
            id=event.event_id,
            offset=seconds(event.event_time) - turn.received,
            kind=kind(event),
            what=_what(attributes(event)) or str(value_of(event.user_metadata.summary) or ""),
        )
        for event in run.events
        if event.event_id in mine
    )


def _what(inside: object) -> str:
    fields = {field.name for field, _ in inside.ListFields()}  # type: ignore[attr-defined]
    if "failure" in fields:
        return failure_line(inside.failure)  # type: ignore[attr-defined]
    if "last_failure" in fields:
        return f"attempt {inside.attempt}, after {failure_line(inside.last_failure)}"  # type: ignore[attr-defined]
    if "accepted_request" in fields:
        return inside.accepted_request.input.name  # type: ignore[attr-defined]
    if "activity_type" in fields:
        return inside.activity_type.name  # type: ignore[attr-defined]
    return ""


async def prompt_of(evidence: Evidence, turn: Turn) -> str:
    """The prompt of the last try that a model was asked with, special tokens and all.

    Raises ContentMissing where its record is not kept here, ModelMissing where its tokenizer is not.
    """
    draft = next((step.generated for step in reversed(turn.of("generate_answer")) if step.generated), None)
    if draft is None or not draft.record:
        raise ContentMissing(f"prompt: turn {turn.turn} has no try record: no model was asked, or its record was lost.")
    record = await evidence.try_record(draft.record)
    tokenizer = await evidence.tokenizer(draft.model_digest)
    return tokenizer.decode(record.prompt_ids, skip_special=False)


async def audit_of(evidence: Evidence, turn: Turn) -> AuditShown:
    return held_against(await evidence.row(turn), turn)


def held_against(row: KeptRow | None, turn: Turn) -> AuditShown:
    held = None if row is None or not turn.audit_hash else row.hash == turn.audit_hash
    return AuditShown(row=row, matches=held)
