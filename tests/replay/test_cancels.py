"""Which turn a cancel ended."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from records.payloads import data_converter
from replay.chain import Chain, RecordedRun
from replay.histories import from_files
from replay.story import tell
from tests.replay.made import chain, renumbered, spoiled, story

ACCEPTED = "workflow_execution_update_accepted_event_attributes"


async def test_a_cancel_is_told_of_the_turn_that_it_ended(tmp_path: Path) -> None:
    """By its message's id, as the gateway asks for a reader that left; also while it is not yet carried out."""
    before = await story("cancelled-while-queued")

    def left(events: list[Any]) -> None:
        asked = {"tenant": "default", "message_id": before.turns[1].message_id, "reason": "the reader left"}
        _cancel_of(events)["payloads"][0]["data"] = base64.b64encode(json.dumps(asked).encode()).decode()

    (found,) = await from_files([spoiled(tmp_path, "cancelled-while-queued", left)], data_converter)
    assert [turn.cancelled for turn in tell(found).turns] == ["", "the reader left"]
    (run,) = found.runs
    at = next(each.event_id for each in run.events if each.HasField(ACCEPTED) and _name_of(each) == "cancel_turn")
    cut = RecordedRun(run.workflow_id, run.events[:at], "cut")
    assert [turn.cancelled for turn in tell(Chain(run.workflow_id, (cut,))).turns] == ["", "the reader left"]


async def test_a_cancel_that_came_too_late_is_none() -> None:
    """Its handler refused it while the answer was returned."""
    (cancelled,), (answered,) = (await chain("dialogue-cancelled")).runs, (await chain("dialogue")).runs
    *events, last = answered.events
    accepted = next(each for each in cancelled.events if each.HasField(ACCEPTED) and _name_of(each) == "cancel_turn")
    accepted = renumbered(accepted, last.event_id)
    refused = HistoryEvent(
        event_id=last.event_id + 1, event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
    )
    completed = refused.workflow_execution_update_completed_event_attributes
    completed.accepted_event_id = accepted.event_id
    completed.outcome.failure.application_failure_info.type = "nothing-to-cancel"
    run = replace(answered, events=(*events, accepted, refused, renumbered(last, last.event_id + 2)))
    (turn,) = tell(Chain(run.workflow_id, (run,))).turns
    assert (turn.verdict, turn.cancelled) == ("pass", "")
    assert accepted.event_id in turn.events


def _cancel_of(events: list[Any]) -> Any:
    brought = (each.get("workflowExecutionUpdateAcceptedEventAttributes", {}).get("acceptedRequest") for each in events)
    return next(each["input"]["args"] for each in brought if each and each["input"]["name"] == "cancel_turn")


def _name_of(event: HistoryEvent) -> str:
    return event.workflow_execution_update_accepted_event_attributes.accepted_request.input.name
