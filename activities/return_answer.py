"""Step 6: the reply through its template, one audit row exactly once, and the stream's final event."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from temporalio import activity

from activities.stream_events import StreamEvents
from activities.turn_plan import TurnPlanner
from dialogue.faults import BadInput, UnknownTenant
from dialogue.plan import WHOLE_ANSWER, TextKind
from dialogue.receipt import Receipt
from dialogue.steps import ReturnAnswer, ReturnedAnswer, Verdict
from dialogue.turn import FINAL_FIELDS
from records.audit import AuditLog, AuditRow
from records.signing import Signer, receipt_of

__all__ = ["ReturnAnswerStep", "final_data"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("activities")

_TEXT_OF: dict[Verdict, TextKind] = {
    "refused": "refusal",
    "template": "fallback",
    "block": "blocked",
    "failed": "failed",
    "cancelled": "cancelled",
    "human": "fallback",
}


class ReturnAnswerStep:
    """``signer`` None: replies have no receipt."""

    def __init__(
        self, planner: TurnPlanner, audit: AuditLog, events: StreamEvents, signer: Signer | None = None
    ) -> None:
        self._signer = signer
        self._planner = planner
        self._audit = audit
        self._events = events

    @activity.defn(name="return_answer")
    async def return_answer(self, request: ReturnAnswer) -> ReturnedAnswer:
        """Raises RecordsUnavailable (attempted again) and RecordsConflict."""
        reply = self.reply(request)
        if not request.masked:
            request = request.model_copy(update={"question": await asyncio.to_thread(self._masked, request)})
        returned_at = time.time()
        if (tenant := self._planner.settings.tenants.get(request.turn.tenant)) is not None and tenant.log_texts:
            log.info("reply", text=reply)
        info = activity.info()
        row = _row(request, reply, returned_at, info.workflow_run_id or "")
        kept = await self._audit.append(row)
        receipt = receipt_of(row, kept.id, kept.hash, self._signer) if self._signer else None
        final = final_data(request, reply, info, receipt)
        await self._events.publish(request.turn, "final", final, key="final")
        return ReturnedAnswer(
            reply=reply, audit_id=kept.id, audit_hash=kept.hash, returned_at=returned_at, receipt=receipt
        )

    def _masked(self, request: ReturnAnswer) -> str:
        """A question that the first step never saw is masked here; one that cannot be is not kept."""
        try:
            return self._planner.policy(request.turn.tenant).check_input(request.question).text
        except BadInput:
            return ""

    def reply(self, request: ReturnAnswer) -> str:
        """The tenant's text for a verdict without an answer; an answer through the tenant's output template."""
        try:
            tenant = self._planner.tenant(request.turn.tenant)
            policy = self._planner.policy(request.turn.tenant)
        except UnknownTenant:  # the turn failed for just that; its row is written all the same
            return next(iter(self._planner.policies.values())).text("failed", request.language)
        if request.answer is None or request.verdict in ("refused", "failed", "cancelled", "block"):
            return request.answer or policy.text(_TEXT_OF.get(request.verdict, "failed"), request.language)
        template = request.template or tenant.template.get(request.language, WHOLE_ANSWER)
        # Replaced, not formatted: braces in an answer are the answer's own.
        return template.replace(WHOLE_ANSWER, request.answer)


def final_data(
    request: ReturnAnswer, reply: str, info: activity.Info, receipt: Receipt | None = None
) -> dict[str, Any]:
    """The reply as a stream's readers get it: what whoever waited for the answer itself is told too."""
    return {
        **request.model_dump(mode="json", include=set(FINAL_FIELDS)),
        "answer": reply,
        "reasoning": request.told,
        "state": "done",
        "conversation": request.turn.conversation,
        "turn": request.turn.turn,
        "usage": {**request.usage.model_dump(), "total_tokens": request.usage.total_tokens},
        "workflow_id": info.workflow_id,
        "run_id": info.workflow_run_id,
        "receipt": receipt.model_dump(mode="json") if receipt else None,
    }


def _files(request: ReturnAnswer) -> str:
    """Which files came with the message: ``files: terms.txt (sha256 9c56…), notes.md (sha256 b210…)``."""
    told = ", ".join(f"{file.name} (sha256 {file.digest})" for file in request.files)
    return f"files: {told}" if told else ""


def _row(request: ReturnAnswer, reply: str, returned_at: float, run_id: str) -> AuditRow:
    return AuditRow(
        conversation=request.turn.conversation,
        turn=request.turn.turn,
        tenant=request.turn.tenant,
        user_id=request.user,
        ip_address=request.address,
        message_id=request.message_id,
        input_text=request.question,
        input_digest=request.question_digest,
        output_text=reply,
        reasoning=request.reasoning,
        timestamp=request.received_at,
        latency_ms=round((returned_at - request.received_at) * 1000, 3),
        language=request.language,
        verdict=request.verdict,
        intent=request.intent,
        confidence=request.confidence,
        model=request.model,
        model_digest=request.model_digest,
        snapshot=request.snapshot,
        policy_digest=request.policy_digest,
        record=request.record,
        citations=request.citations,
        usage=request.usage,
        note=" · ".join(filter(None, (request.note, _files(request)))),
        run_id=run_id,
    )
