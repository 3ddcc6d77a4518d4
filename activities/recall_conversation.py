"""Beside the six steps: what the audit knows of a conversation's earlier runs, and feedback kept with its turn."""

from __future__ import annotations

import structlog
from temporalio import activity

from dialogue.faults import KeyDestroyed
from dialogue.messages import Feedback
from dialogue.steps import RecallConversation
from dialogue.turn import CarriedId, Recalled, Reply, TurnSummary, newest_within
from records.audit import AuditLog, AuditRow, KeptRow
from records.signing import Signer, receipt_of

__all__ = ["RecallConversationStep"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")

REMEMBERED = 50
_OF_A_SUMMARY = frozenset({"input_text", "input_digest", "output_text"})


class RecallConversationStep:
    """``signer`` None: replies have no receipt."""

    def __init__(self, audit: AuditLog, signer: Signer | None = None) -> None:
        self._audit = audit
        self._signer = signer

    @activity.defn(name="recall_conversation")
    async def recall_conversation(self, request: RecallConversation) -> Recalled:
        """The last turns, oldest first; with ``turn``, the whole reply of that one. Of a conversation that was another
        tenant's it tells that alone."""
        if request.turn is not None:
            rows = await self._audit.turns(request.conversation, request.tenant, before=request.turn + 1, limit=1)
            found = [row for row in rows if row.turn == request.turn]
            return Recalled(reply=self._reply(found[0]) if found else None)
        rows = await self._audit.turns(request.conversation, request.tenant, limit=REMEMBERED)
        if not rows and await self._audit.is_foreign(request.conversation, request.tenant):
            return Recalled(foreign=True)
        turns = [_summary(row) for row in rows if _is_told(row)]
        return Recalled(
            turns=tuple(newest_within(turns)),
            ids=tuple(CarriedId(message_id=t.message_id, text_digest=t.text_digest, turn=t.turn) for t in turns),
            total=max((row.turn for row in rows), default=0),
        )

    def _reply(self, row: KeptRow) -> Reply:
        signer = None if row.forgotten or row.damaged else self._signer
        receipt = receipt_of(row, row.id, row.hash, signer) if signer else None
        return _reply(row).model_copy(update={"receipt": receipt})

    @activity.defn(name="keep_feedback")
    async def keep_feedback(self, conversation: str, feedback: Feedback) -> None:
        """Of a conversation whose user was forgotten meanwhile nothing is kept; that is no failure of it."""
        try:
            await self._audit.keep_feedback(conversation=conversation, **feedback.model_dump(), under_way=True)
        except KeyDestroyed as fault:
            log.warning("feedback not kept", reason=fault.message)


def _is_told(row: KeptRow) -> bool:
    """Whether the conversation goes on from it: not from what is forgotten, nor from a text that is damaged."""
    if row.damaged:
        log.warning("audit row damaged", reason=row.damage)
    return not row.forgotten and _OF_A_SUMMARY.isdisjoint(row.damaged)


def _summary(row: AuditRow) -> TurnSummary:
    return TurnSummary(
        turn=row.turn,
        message_id=row.message_id,
        text_digest=row.input_digest,
        question=row.input_text,
        answer=row.output_text,
        verdict=row.verdict,
        intent=row.intent,
        confidence=row.confidence,
        language=row.language,
        tokens=row.usage.completion_tokens,
        seconds=row.latency_ms / 1000,
    )


def _reply(row: AuditRow) -> Reply:
    return Reply(
        conversation=row.conversation,
        turn=row.turn,
        message_id=row.message_id,
        text_digest=row.input_digest,
        tenant=row.tenant,
        state="done",
        answer=row.output_text,
        reasoning=row.reasoning,
        language=row.language,
        verdict=row.verdict,
        intent=row.intent,
        confidence=row.confidence,
        citations=row.citations,
        model=row.model,
        model_digest=row.model_digest,
        snapshot=row.snapshot,
        usage=row.usage,
        note=row.note,
        workflow_id=row.conversation,
        run_id=row.run_id,
        received_at=row.timestamp,
        answered_at=row.timestamp + row.latency_ms / 1000,
    )
