"""The draft of a turn that waits for a person, read from the history of its workflow."""

from __future__ import annotations

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter

from dialogue.steps import RecogniseIntent, ReviewAnswer, ReviewedAnswer
from gateway.wire import Draft

__all__ = ["draft_of"]

_REQUESTS: dict[str, type[RecogniseIntent | ReviewAnswer]] = {
    "recognise_intent": RecogniseIntent,
    "review_answer": ReviewAnswer,
}
"""The steps after which a turn may wait for a person."""


async def draft_of(client: Client, conversation: str, turn: int) -> tuple[Draft | None, float | None]:
    """The last reviewed answer of that turn, and since when it waits; ``None`` where it never came to a review, or
    to no step at all."""
    scheduled: dict[int, str] = {}
    draft: Draft | None = None
    since: float | None = None
    async for event in client.get_workflow_handle(conversation).fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = await _step_of(client.data_converter, event, turn)
            if name is not None:
                scheduled[event.event_id] = name
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            name = scheduled.get(done.scheduled_event_id)
            if name is not None:
                since = event.event_time.ToMicroseconds() / 1_000_000
            if name == "review_answer":
                (reviewed,) = await client.data_converter.decode(done.result.payloads, [ReviewedAnswer])
                draft = Draft.model_validate(reviewed.model_dump())
    return draft, since


async def _step_of(converter: DataConverter, event: HistoryEvent, turn: int) -> str | None:
    """The name of the step that is scheduled, where a turn may wait behind it and it is one of ``turn``."""
    attributes = event.activity_task_scheduled_event_attributes
    kind = _REQUESTS.get(attributes.activity_type.name)
    if kind is None:
        return None
    (request,) = await converter.decode(attributes.input.payloads, [kind])
    return attributes.activity_type.name if request.turn.turn == turn else None
