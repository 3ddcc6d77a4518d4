"""Reads a history that the Web UI or the ``temporal`` CLI exported, as far as it can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from google.protobuf.json_format import ParseError
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from dialogue.faults import HistoryFault, HistoryUnreadable
from replay.events import attributes, kind, payloads_of

__all__ = ["EXPORT", "read_exported", "read_text"]

EXPORT = "Export it with `temporal workflow show --workflow-id ID --output json`."
_WITH_OUR_PAYLOADS = ("ACTIVITY_TASK_SCHEDULED", "ACTIVITY_TASK_COMPLETED")
_DECODED = "Download it with “Decode Event History” switched off, or export it with the temporal CLI."


_NO_EVENT = (ParseError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What the SDK raises for what is no event."""


def read_exported(path: Path) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    """The events of the file, and what is wrong with it; a file that was cut off gives those before the cut, and one
    with events that this version cannot read the others.

    Raises HistoryUnreadable where nothing of a history is in it, or it cannot be opened.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise HistoryUnreadable(f"{path}: it cannot be opened ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise HistoryUnreadable(f"{path}: it is no text ({error.reason} at byte {error.start}). {EXPORT}") from None
    return read_text(path, text)


def read_text(path: Path, text: str) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    """The same of a text that was read already; ``path`` is what messages call it. Raises HistoryUnreadable."""
    try:
        document: object = json.loads(text)
    except json.JSONDecodeError as error:
        return _as_far_as_it_goes(path, text, error)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else "a number in it has too many digits"
        raise HistoryUnreadable(f"{path}: {why} to be read. {EXPORT}") from None
    return _read(path, _listed(path, document))


def _listed(path: Path, document: object) -> list[Any]:
    """The list of events; the Web UI of older servers exported it bare."""
    if isinstance(document, dict):
        document = cast("dict[str, Any]", document).get("events")
    if not isinstance(document, list) or not document:
        raise HistoryUnreadable(f"{path}: it is JSON, but holds no events. {EXPORT}")
    return cast("list[Any]", document)


def _read(path: Path, listed: list[Any]) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    events, problems = _events(path, listed)
    for event in events:
        # The SDK writes an encoding always; without one it is a value that stands where a payload was.
        if kind(event) in _WITH_OUR_PAYLOADS and any(not each.metadata for each in payloads_of(attributes(event))):
            why = "it holds values where payloads were"
            raise HistoryUnreadable(f"{path}: event {event.event_id} cannot be read ({why}). {_DECODED}")
    return events, problems


def _events(path: Path, listed: list[Any]) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    """One by one where all at once does not go: an event that another version wrote costs that one, and is named."""
    try:
        events = list(WorkflowHistory.from_json("", {"events": listed}).events)
        if all(event.event_id for event in events):
            return events, []
    except _NO_EVENT:
        pass
    read = [_event(each) for each in listed]
    unread = [(place, why) for place, (_, why) in enumerate(read, 1) if why]
    decoded = next(((place, why) for place, why in unread if "ayload" in why), None)
    place, why = decoded or unread[0]
    more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
    fault = HistoryUnreadable(
        f"{path}: its event {place}{more} cannot be read ({why}). {_DECODED if decoded else EXPORT}"
    )
    if decoded or all(why for _, why in read):
        raise fault
    return [event for event, _ in read if event.event_id], [fault]


def _event(value: Any) -> tuple[HistoryEvent, str]:
    """The event, or one that holds no more than its number, and why it cannot be read."""
    try:
        (event,) = WorkflowHistory.from_json("", {"events": [value]}).events
    except _NO_EVENT as error:
        named = str(cast("dict[str, Any]", value).get("eventId") if isinstance(value, dict) else "")
        number = int(named) if named.isdecimal() and len(named) < 10 else 0
        return HistoryEvent(event_id=number), " ".join(str(error).split()).rstrip(".")[:200]
    return event, "" if event.event_id else "it has no eventId"


def _as_far_as_it_goes(
    path: Path, text: str, error: json.JSONDecodeError
) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    where = f"line {error.lineno} column {error.colno}"
    listed = list(_whole_objects(text))
    if not listed:
        raise HistoryUnreadable(f"{path}: {where}: it is not JSON ({error.msg}). {EXPORT}")
    events, problems = _read(path, listed)
    cut = HistoryUnreadable(f"{path}: it breaks off at {where}, after {len(listed)} whole events. {EXPORT}")
    return events, [*problems, cut]


def _whole_objects(text: str) -> Iterator[dict[str, Any]]:
    """The elements of the first list of the text, up to the first that is not whole."""
    decoder, place = json.JSONDecoder(), text.find("[") + 1
    while place:
        place += len(text[place:]) - len(text[place:].lstrip(" \t\r\n,"))
        try:
            found, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        if not isinstance(found, dict):
            return
        yield cast("dict[str, Any]", found)
