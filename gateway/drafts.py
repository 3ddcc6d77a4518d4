"""What a person who decides has to see of a turn that waits, read from the history of its workflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter

from dialogue.steps import ReceivedFile, ReceivedInput, ReceiveInput, RecogniseIntent, ReviewAnswer, ReviewedAnswer
from gateway.wire import Draft

__all__ = ["Considered", "considered"]

_REQUESTS: dict[str, type[ReceiveInput | RecogniseIntent | ReviewAnswer]] = {
    "receive_input": ReceiveInput,
    "recognise_intent": RecogniseIntent,
    "review_answer": ReviewAnswer,
}
"""The first step, and those after which a turn may wait for a person."""


@dataclass(slots=True)
class Considered:
    """``draft`` is the last reviewed answer; ``None`` where the turn never came to a review. ``files`` are as the
    policy let them through. ``since``, in Unix seconds, is when the last step before the waiting was done."""

    draft: Draft | None = None
    files: tuple[ReceivedFile, ...] = ()
    since: float | None = None


async def considered(client: Client, conversation: str, turn: int) -> Considered:
    """Of that turn: nothing, where it came to no step."""
    scheduled: dict[int, str] = {}
    found = Considered()
    async for event in client.get_workflow_handle(conversation).fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            name = await _step_of(client.data_converter, event, turn)
            if name is not None:
                scheduled[event.event_id] = name
        elif event.HasField("activity_task_completed_event_attributes"):
            done = event.activity_task_completed_event_attributes
            name = scheduled.get(done.scheduled_event_id)
            if name is not None:
                await _note(found, name, client.data_converter, done.result.payloads)
            if name in ("recognise_intent", "review_answer"):
                found.since = event.event_time.ToMicroseconds() / 1_000_000
    return found


async def _note(found: Considered, step: str, converter: DataConverter, result: Sequence[Payload]) -> None:
    if step == "receive_input":
        (received,) = await converter.decode(result, [ReceivedInput])
        found.files = received.files
    elif step == "review_answer":
        (reviewed,) = await converter.decode(result, [ReviewedAnswer])
        found.draft = Draft.model_validate(reviewed.model_dump())


async def _step_of(converter: DataConverter, event: HistoryEvent, turn: int) -> str | None:
    """The name of the step that is scheduled, where it is one that is read here and of ``turn``."""
    attributes = event.activity_task_scheduled_event_attributes
    kind = _REQUESTS.get(attributes.activity_type.name)
    if kind is None:
        return None
    (request,) = await converter.decode(attributes.input.payloads, [kind])
    return attributes.activity_type.name if request.turn.turn == turn else None
