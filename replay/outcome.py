"""What a turn came to, as its last step, its reply and its first step's result tell it: fields of a turn."""

from __future__ import annotations

from typing import Any, cast

from dialogue.steps import Finding, ReturnAnswer, ReturnedAnswer
from dialogue.turn import Reply
from replay.turns import Skipped, parsed

__all__ = ["findings_of", "outcome_of", "told_by_reply"]


def findings_of(received: dict[str, Any]) -> tuple[Finding, ...]:
    """Those that can be read."""
    listed = received.get("findings")
    found = [parsed(each, Finding) for each in cast("list[Any]", listed)] if isinstance(listed, list) else []
    return tuple(each for each in found if each is not None)


def outcome_of(given: ReturnAnswer | None, returned: ReturnedAnswer | None) -> dict[str, Any]:
    """How it ended, as the last step was told; that step is scheduled whatever became of the turn."""
    made: dict[str, Any] = {}
    if given is not None:
        same = (
            "verdict", "note", "intent", "confidence", "model", "model_digest", "snapshot", "policy_digest", "record",
            "usage", "citations", "user",
        )  # fmt: skip
        made = {name: getattr(given, name) for name in same}
        made |= {"question": given.question, "language": given.language, "answer": given.answer or ""}
    if returned is not None:
        made |= {
            "answer": returned.reply,
            "audit_id": returned.audit_id,
            "audit_hash": returned.audit_hash,
            "answered": returned.returned_at,
        }
    return made


def told_by_reply(reply: Reply, *, done: bool) -> dict[str, Any]:
    """What the reply alone tells: the steps that were skipped; and all else where the last step was never begun, or
    failed: what that one was told was then answered to nobody."""
    skipped = tuple(
        Skipped(step=each.step, why=each.result.removeprefix("skipped: ")) for each in reply.steps if each.skipped
    )
    if done:
        return {"skipped": skipped}
    return {
        "skipped": skipped,
        "verdict": reply.verdict,
        "note": reply.note,
        "answer": reply.answer,
        "intent": reply.intent,
        "confidence": reply.confidence,
        "citations": reply.citations,
        "snapshot": reply.snapshot,
        "model": reply.model,
        "model_digest": reply.model_digest,
    }
