"""Audit rows to test with."""

from __future__ import annotations

from typing import Any

from dialogue.steps import Citation, Usage
from records.audit import AuditRow

__all__ = ["a_row"]


def a_row(**changes: Any) -> AuditRow:
    """A row with something in every column; the same arguments give the same row."""
    turn = changes.get("turn", 1)
    row = AuditRow(
        conversation="conv-1",
        turn=turn,
        tenant="lantern",
        user_id="ann",
        ip_address="192.0.2.7",
        message_id=f"m-{turn}",
        input_text="How long may I return a parcel? 我可以多久退货？",
        input_digest="d" * 64,
        output_text="Within 30 days [1]. 三十天内 [1]。😀",
        reasoning="They ask for the time.",
        timestamp=1_790_000_000.123456,
        latency_ms=812.25,
        language="en",
        verdict="pass",
        intent="returns",
        confidence=0.1 + 0.2,
        model="small",
        model_digest="a" * 64,
        snapshot="b" * 64,
        policy_digest="c" * 64,
        record="e" * 64,
        citations=(
            Citation(number=1, document="r.md", title="退货", section="", start=3, end=9, quote="30 天", support=1 / 3),
        ),
        usage=Usage(prompt_tokens=300, completion_tokens=20, reasoning_tokens=4),
        note="",
        run_id="run-1",
    )
    return row.model_copy(update=changes)
