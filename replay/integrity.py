"""Whether the events of a run stand as the server wrote them: none missing, in order, each where the others say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from temporalio.api.history.v1 import HistoryEvent

from dialogue.faults import HistoryBroken, HistoryFault, HistoryForeign, HistoryUnreadable
from replay.events import attributes, is_consistent, is_known, kind, payloads_of
from workflows.names import CONVERSATION_WORKFLOW, DIALOGUE_WORKFLOW

__all__ = ["check_kinds", "check_order", "check_payloads", "check_type"]

_OURS = (CONVERSATION_WORKFLOW, DIALOGUE_WORKFLOW)
_OF_CALLERS = ("WORKFLOW_EXECUTION_STARTED", "WORKFLOW_EXECUTION_SIGNALED")
_REFERENCES = {
    "scheduled_event_id": ("ACTIVITY_TASK_SCHEDULED", "WORKFLOW_TASK_SCHEDULED"),
    "workflow_task_completed_event_id": ("WORKFLOW_TASK_COMPLETED",),
    "accepted_event_id": ("WORKFLOW_EXECUTION_UPDATE_ACCEPTED",),
}
"""Field of an event -> the kinds of event that it may name."""


def check_type(events: Sequence[HistoryEvent], source: str) -> HistoryForeign | None:
    """The fault where it is no conversation's and no dialogue's."""
    name = attributes(events[0]).workflow_type.name if kind(events[0]) == "WORKFLOW_EXECUTION_STARTED" else ""
    if not name or name in _OURS:
        return None
    return HistoryForeign(f"{source}: it is a run of {name}. parley replay reads {' and '.join(_OURS)}.")


def check_kinds(events: Sequence[HistoryEvent], source: str) -> HistoryUnreadable | None:
    """The first event that says nothing to this version: another one's server or workers wrote it."""
    for event in events:
        if not is_known(event):
            why = f"event {event.event_id} is of a kind that this version of Parley does not know"
            return HistoryUnreadable(f"{source}: {why}. Look with the version that recorded it, or a newer one.")
    return None


def check_order(events: Sequence[HistoryEvent], source: str) -> HistoryBroken | None:
    """The first thing that no server writes: a gap, another order, an event that names one which is not there."""
    why = next(_out_of_order(events), None) or next(_astray(events), None)
    return None if why is None else HistoryBroken(f"{source}: {why}. Take the history from the server again.")


def _out_of_order(events: Sequence[HistoryEvent]) -> Iterator[str]:
    if kind(events[0]) != "WORKFLOW_EXECUTION_STARTED" and events[0].event_id != 1:
        yield f"it begins with event {events[0].event_id}: what was before is missing"
    before = events[0]
    if before.event_id == 1 and kind(before) != "WORKFLOW_EXECUTION_STARTED":
        yield f"its first event is {kind(before)} and not the start of a workflow"
    for event in events[1:]:
        expected = before.event_id + 1
        if event.event_id > expected:
            missing = f"events {expected} to {event.event_id - 1} are" if event.event_id > expected + 1 else ""
            yield f"{missing or f'event {expected} is'} missing"
        if event.event_id < expected:
            yield f"event {event.event_id} stands behind event {before.event_id}: they were put in another order"
        if event.task_id and before.task_id and event.task_id < before.task_id:
            yield f"event {event.event_id} was written before event {before.event_id}: they were exchanged"
        before = event


def _astray(events: Sequence[HistoryEvent]) -> Iterator[str]:
    kinds = {event.event_id: kind(event) for event in events}
    unknown = {event.event_id for event in events if not is_known(event)}
    ended: dict[int, int] = {}
    for event in events:
        if not is_known(event):  # check_kinds says it
            continue
        if not is_consistent(event):
            held = "what another kind of event does" if event.WhichOneof("attributes") else "nothing"
            yield f"event {event.event_id} is called {kind(event)} and holds {held}"
        inside = attributes(event)
        for field, allowed in _REFERENCES.items():
            named = getattr(inside, field, 0)
            if named and named not in unknown and kinds.get(named) not in allowed:
                found = kinds.get(named, "not there")
                yield f"event {event.event_id} names event {named}, which is {found}: one of them was edited"
        if kind(event) == "ACTIVITY_TASK_COMPLETED":
            other = ended.setdefault(inside.scheduled_event_id, event.event_id)
            if other != event.event_id:
                yield f"events {other} and {event.event_id} both end the activity of event {inside.scheduled_event_id}"


def check_payloads(events: Sequence[HistoryEvent], source: str) -> HistoryFault | None:
    """The first payload that says it is JSON and is none, or cannot be looked through. Call it with decoded events.

    What a caller starts a run with, or signals to it, was never checked and may be anything: the workflow lives with
    that, and it shows no edit.
    """
    for event in events:
        if kind(event) in _OF_CALLERS:
            continue
        for payload in payloads_of(event):
            if payload.metadata.get("encoding") != b"json/plain":
                continue
            what = f"{source}: event {event.event_id} ({kind(event)}) holds a payload that is"
            try:
                json.loads(payload.data)
            except ValueError as error:
                return HistoryBroken(
                    f"{what} no JSON ({error}): it was edited. Take the history from the server again."
                )
            except RecursionError:
                return HistoryUnreadable(f"{what} nested too deeply to be read. Look at it in the Web UI.")
    return None
