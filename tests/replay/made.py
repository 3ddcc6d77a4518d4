"""Recorded histories for tests, as they are and as somebody spoiled them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from temporalio.api.history.v1 import HistoryEvent

from records.payloads import data_converter
from replay.chain import Chain
from replay.histories import from_files
from replay.story import tell
from replay.turns import Story

HISTORIES = Path(__file__).resolve().parents[1] / "histories"
SIGNALED = "workflowExecutionSignaledEventAttributes"


def recorded(*names: str) -> list[Path]:
    return [HISTORIES / f"{name}.json" for name in names]


def document(name: str) -> dict[str, Any]:
    return json.loads((HISTORIES / f"{name}.json").read_text())


def spoiled(folder: Path, name: str, change: Callable[[list[Any]], None]) -> Path:
    """The history with its list of events changed."""
    found = document(name)
    change(found["events"])
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found))
    return path


def edited_result(activity: str, change: Callable[[Any], None]) -> Callable[[list[Any]], None]:
    """Edits the first result of that activity, as somebody would who wants to have it otherwise."""

    def edit(events: list[Any]) -> None:
        done = completion_of(activity, events)
        payload = done["result"]["payloads"][0]
        value = json.loads(base64.b64decode(payload["data"]))
        change(value)
        payload["data"] = base64.b64encode(json.dumps(value).encode()).decode()

    return edit


def completion_of(activity: str, events: list[Any]) -> dict[str, Any]:
    """The attributes of the first event that completes such an activity."""
    scheduled, completed = "activityTaskScheduledEventAttributes", "activityTaskCompletedEventAttributes"
    named = [each["eventId"] for each in events if each.get(scheduled, {}).get("activityType") == {"name": activity}]
    return next(e[completed] for e in events if e.get(completed, {}).get("scheduledEventId") == named[0])


def signalling(signalled: dict[str, Any]) -> Callable[[list[Any]], None]:
    """What the first signal brings becomes this payload, as if somebody had sent that."""

    def edit(events: list[Any]) -> None:
        next(each for each in events if SIGNALED in each)[SIGNALED]["input"] = {"payloads": [signalled]}

    return edit


def payload(body: bytes, encoding: bytes = b"json/plain") -> dict[str, Any]:
    """As a history's JSON holds it; with an empty ``encoding`` it names none."""
    packed = {"encoding": base64.b64encode(encoding).decode()} if encoding else {}
    return {"metadata": packed, "data": base64.b64encode(body).decode()}


async def chain(*names: str) -> Chain:
    (found,) = await from_files(recorded(*names), data_converter)
    return found


async def story(*names: str) -> Story:
    return tell(await chain(*names))


def renumbered(event: HistoryEvent, event_id: int) -> HistoryEvent:
    """A copy of it that stands at that place."""
    other = HistoryEvent()
    other.CopyFrom(event)
    other.event_id = event_id
    return other
