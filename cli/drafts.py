"""The draft of a turn that waits for a person, read from the history of its workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from dialogue.steps import Citation, Finding, ReviewAnswer, ReviewedAnswer

if TYPE_CHECKING:
    from temporalio.client import Client

__all__ = ["Draft", "draft_of"]


class Draft(BaseModel):
    """What would be sent if a person approved it, and what the review found."""

    answer: str
    reason: str
    findings: tuple[Finding, ...] = ()
    citations: tuple[Citation, ...] = ()


async def draft_of(client: Client, conversation: str, turn: int) -> Draft | None:
    """The last reviewed answer of that turn; ``None`` where it never came to a review."""
    scheduled: dict[int, ReviewAnswer] = {}
    draft: Draft | None = None
    handle = client.get_workflow_handle(conversation)
    converter = client.data_converter
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            attributes = event.activity_task_scheduled_event_attributes
            if attributes.activity_type.name == "review_answer":
                (request,) = await converter.decode(attributes.input.payloads, [ReviewAnswer])
                scheduled[event.event_id] = request
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            request = scheduled.get(done.scheduled_event_id)
            if request is not None and request.turn.turn == turn:
                (reviewed,) = await converter.decode(done.result.payloads, [ReviewedAnswer])
                draft = Draft(
                    answer=reviewed.answer,
                    reason=reviewed.reason,
                    findings=reviewed.findings,
                    citations=reviewed.citations,
                )
    return draft
