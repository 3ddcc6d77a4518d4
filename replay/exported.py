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


def read_exported(path: Path) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    """The events of the file, and what is wrong with it; a file that was cut off gives those before the cut.

    Raises HistoryUnreadable where nothing of a history is in it, and OSError for a file that cannot be opened.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HistoryUnreadable(f"{path}: it is no text ({error.reason} at byte {error.start}). {EXPORT}") from None
    return read_text(path, text)


def read_text(path: Path, text: str) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    """The same of a text that was read already; ``path`` is what messages call it. Raises HistoryUnreadable."""
    try:
        document: object = json.loads(text)
    except json.JSONDecodeError as error:
        return _as_far_as_it_goes(path, text, error)
    return _read(path, _listed(path, document)), []


def _listed(path: Path, document: object) -> list[Any]:
    """The list of events; the Web UI of older servers exported it bare."""
    if isinstance(document, dict):
        document = cast("dict[str, Any]", document).get("events")
    if not isinstance(document, list) or not document:
        raise HistoryUnreadable(f"{path}: it is JSON, but holds no events. {EXPORT}")
    return cast("list[Any]", document)


def _read(path: Path, listed: list[Any]) -> list[HistoryEvent]:
    events = list(_events(path, listed))
    nameless = next((place for place, event in enumerate(events, 1) if not event.event_id), None)
    if nameless:
        raise HistoryUnreadable(f"{path}: its event {nameless} cannot be read (it has no eventId). {EXPORT}")
    for event in events:
        # The SDK writes an encoding always; without one it is a value that stands where a payload was.
        if kind(event) in _WITH_OUR_PAYLOADS and any(not each.metadata for each in payloads_of(attributes(event))):
            why = "it holds values where payloads were"
            raise HistoryUnreadable(f"{path}: event {event.event_id} cannot be read ({why}). {_DECODED}")
    return events


def _events(path: Path, listed: list[Any]) -> Iterator[HistoryEvent]:
    """One by one where all at once does not go, so that the message names the event."""
    try:
        yield from WorkflowHistory.from_json("", {"events": listed}).events
        return
    except (ParseError, ValueError, KeyError, TypeError, AttributeError):
        pass
    for place, each in enumerate(listed, 1):
        try:
            yield from WorkflowHistory.from_json("", {"events": [each]}).events
        except (ParseError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = " ".join(str(error).split())[:200]
            way_out = _DECODED if "ayload" in why else EXPORT
            raise HistoryUnreadable(f"{path}: its event {place} cannot be read ({why}). {way_out}") from None


def _as_far_as_it_goes(
    path: Path, text: str, error: json.JSONDecodeError
) -> tuple[list[HistoryEvent], list[HistoryFault]]:
    where = f"line {error.lineno} column {error.colno}"
    listed = list(_whole_objects(text))
    if not listed:
        raise HistoryUnreadable(f"{path}: {where}: it is not JSON ({error.msg}). {EXPORT}")
    cut = HistoryUnreadable(f"{path}: it breaks off at {where}, after {len(listed)} whole events. {EXPORT}")
    return _read(path, listed), [cut]


def _whole_objects(text: str) -> Iterator[dict[str, Any]]:
    """The elements of the first list of the text, up to the first that is not whole."""
    decoder, place = json.JSONDecoder(), text.find("[") + 1
    while place:
        place += len(text[place:]) - len(text[place:].lstrip(" \t\r\n,"))
        try:
            found, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError:
            return
        if not isinstance(found, dict):
            return
        yield cast("dict[str, Any]", found)
