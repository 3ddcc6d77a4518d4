"""A step as a span: what it is called with and what it gave, in numbers and names alone."""

from __future__ import annotations

from typing import Any

from temporalio import activity

from dialogue.messages import TurnKey
from dialogue.steps import GeneratedAnswer, ReceivedInput, RecognisedIntent, RetrievedKnowledge, ReviewedAnswer
from records.tracing import Attributes

__all__ = ["of_result", "of_step"]


def of_step(info: activity.Info, turn: TurnKey | None, pool: str) -> dict[str, Any]:
    """Before it runs: where it belongs, as Temporal's own interceptors name it too, and how long it waited."""
    waited = (info.started_time - info.current_attempt_scheduled_time).total_seconds()
    where: dict[str, Any] = {
        "temporalWorkflowID": info.workflow_id,
        "temporalRunID": info.workflow_run_id,
        "temporalActivityID": info.activity_id,
        "parley.pool": pool,
        "parley.attempt": info.attempt,
        "parley.queue_seconds": round(max(waited, 0.0), 6),
    }
    if turn is not None:
        where |= {"gen_ai.conversation.id": turn.conversation, "parley.turn": turn.turn, "parley.tenant": turn.tenant}
    return where


def of_result(result: object) -> Attributes:
    """After it ran."""
    match result:
        case ReceivedInput():
            return {"parley.language": result.language, "parley.decision": result.decision}
        case RecognisedIntent():
            return {
                "parley.intent": result.intent,
                "parley.confidence": result.confidence,
                "parley.route": result.route,
            }
        case RetrievedKnowledge():
            return {
                "gen_ai.operation.name": "retrieval",
                "gen_ai.data_source.id": result.snapshot,
                "parley.passages": len(result.passages),
            }
        case GeneratedAnswer():
            return {"parley.record": result.record or None, "parley.poor": result.poor}
        case ReviewedAnswer():
            return {"parley.verdict": result.verdict}
        case _:
            return {}
