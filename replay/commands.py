"""Holds the commands of today's code against the recorded events: what is scheduled, with which arguments, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.proto.workflow_commands import WorkflowCommand

from dialogue.base import Value
from replay.events import attributes, kind, value_of

__all__ = ["NOT_THERE", "CommandCheck", "Divergence", "differing", "shorten"]

_SHOWN = 120
_OF_THE_RUN = {"run_id"}
"""A run that a reset made is replayed under the id of the one whose beginning it took over."""
_ANY = re.compile(r"\[\d+\]")


class Divergence(Value):
    """The first place where today's code does something else. ``step``: the activity, or the kind of the event."""

    event: int | None
    step: str
    field: str = ""
    recorded: str = ""
    today: str = ""

    def line(self) -> str:
        """``event 25, generate_answer: request.temperature was 0.6 and is 0.7 today``."""
        where = f"event {self.event}, {self.step}" if self.event else self.step
        return f"{where}: {self.field} was {self.recorded} and is {self.today} today"


class CommandCheck:
    """Give :meth:`take` each command. ``unknown``: fields that only one of both has, the marks of another version.
    ``told`` is called with the share of the events that was come to, 0 to 1, from whichever thread takes."""

    def __init__(self, events: Sequence[HistoryEvent], told: Callable[[float], None] | None = None) -> None:
        self._told, self._last = told, events[-1].event_id if events else 1
        self.found: list[Divergence] = []
        self.unknown: set[str] = set()
        self.taken = 0
        self._activities: dict[str, HistoryEvent] = {}
        self._timers: dict[str, HistoryEvent] = {}
        self._updates: dict[str, HistoryEvent] = {}
        self._end: HistoryEvent | None = events[-1] if events else None
        accepted: dict[int, str] = {}
        for event in events:
            name, inside = kind(event), attributes(event)
            if name == "ACTIVITY_TASK_SCHEDULED":
                self._activities[inside.activity_id] = event
            elif name == "TIMER_STARTED":
                self._timers[inside.timer_id] = event
            elif name == "WORKFLOW_EXECUTION_UPDATE_ACCEPTED":
                accepted[event.event_id] = inside.protocol_instance_id
            elif name == "WORKFLOW_EXECUTION_UPDATE_COMPLETED" and inside.accepted_event_id in accepted:
                self._updates[accepted[inside.accepted_event_id]] = event

    def take(self, command: WorkflowCommand) -> None:
        self.taken += 1
        variant = command.WhichOneof("variant")
        if variant == "schedule_activity":
            self._activity(command.schedule_activity)
        elif variant == "start_timer":
            self._timer(command.start_timer)
        elif variant == "update_response":
            self._update(command.update_response)
        elif variant == "complete_workflow_execution":
            self._ends("WORKFLOW_EXECUTION_COMPLETED", [command.complete_workflow_execution.result])
        elif variant == "continue_as_new_workflow_execution":
            carried = command.continue_as_new_workflow_execution
            self._ends("WORKFLOW_EXECUTION_CONTINUED_AS_NEW", list(carried.arguments))

    def _activity(self, today: Any) -> None:
        event = self._activities.get(today.activity_id)
        if event is None:  # behind the end of a history that goes on; else the Replayer says it
            return
        if self._told is not None:
            self._told(event.event_id / self._last)
        recorded = attributes(event)
        step = recorded.activity_type.name
        if today.activity_type != step:
            self._add(event, step, "the step", step, today.activity_type)
            return
        self._payloads(event, step, list(recorded.input.payloads), list(today.arguments))

    def _timer(self, today: Any) -> None:
        event = self._timers.get(str(today.seq))
        if event is None:
            return
        recorded = attributes(event).start_to_fire_timeout.ToTimedelta().total_seconds()
        now = today.start_to_fire_timeout.ToTimedelta().total_seconds()
        if abs(recorded - now) > 1e-3:
            self._add(event, "timer", "its time", f"{recorded:g} s", f"{now:g} s")

    def _update(self, today: Any) -> None:
        event = self._updates.get(today.protocol_instance_id)
        if event is None or today.HasField("accepted"):
            return
        recorded = attributes(event).outcome
        replied, replies = recorded.HasField("success"), today.HasField("completed")
        if replied != replies:
            words = {True: "a reply", False: "a refusal"}
            self._add(event, "reply", "its outcome", words[replied], words[replies])
        elif replies:
            self._payloads(event, "reply", list(recorded.success.payloads), [today.completed])
        elif (was := _type_of(recorded.failure)) != (is_ := _type_of(today.rejected)):
            self._add(event, "reply", "its refusal", was, is_)

    def _ends(self, name: str, today: list[Payload]) -> None:
        if self._end is None or kind(self._end) != name:
            return
        inside = attributes(self._end)
        recorded = inside.result if name.endswith("COMPLETED") else inside.input
        self._payloads(self._end, name.lower().replace("_", " "), list(recorded.payloads), today)

    def _payloads(self, event: HistoryEvent, step: str, recorded: list[Payload], today: list[Payload]) -> None:
        if len(recorded) != len(today):
            self._add(event, step, "the number of arguments", str(len(recorded)), str(len(today)))
        for before, now in zip(recorded, today, strict=False):
            if before.data == now.data:
                continue
            for path, was, is_ in differing(value_of(before), value_of(now)):
                if path in _OF_THE_RUN:
                    continue
                if was is NOT_THERE or is_ is NOT_THERE:
                    self.unknown.add(f"{step}.{_ANY.sub('[]', path)}")
                else:
                    self._add(event, step, path, shorten(was), shorten(is_))

    def _add(self, event: HistoryEvent, step: str, field: str, recorded: str, today: str) -> None:
        self.found.append(Divergence(event=event.event_id, step=step, field=field, recorded=recorded, today=today))


def _type_of(failure: Failure) -> str:
    """``message-id-reused``. Its words are for people, and may be put otherwise."""
    return failure.application_failure_info.type


class _NotThere:
    def __repr__(self) -> str:
        return "not there"


NOT_THERE = _NotThere()
"""Stands for a field that one of two values does not have."""


def differing(recorded: Any, today: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each place where two JSON values differ: its dotted path, and both values there."""
    if isinstance(recorded, dict) and isinstance(today, dict):
        was, now = cast("dict[str, Any]", recorded), cast("dict[str, Any]", today)
        for name in dict.fromkeys((*was, *now)):
            place = f"{path}.{name}" if path else name
            yield from differing(was.get(name, NOT_THERE), now.get(name, NOT_THERE), place)
    elif isinstance(recorded, list) and isinstance(today, list):
        first, second = cast("list[Any]", recorded), cast("list[Any]", today)
        for number in range(max(len(first), len(second))):
            was = first[number] if number < len(first) else None
            now = second[number] if number < len(second) else None
            yield from differing(was, now, f"{path}[{number}]")
    elif recorded != today:
        yield path or "the value", recorded, today


def shorten(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
