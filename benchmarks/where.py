"""Where a turn's milliseconds go: every moment from the caller's message to its reply belongs to one of six parts.

With one conversation at a time a turn is a single chain: what the worker does is timed at the SDK's own borders, what
the server does is read from the times in the history.

- **server**: storing, starting, delivering; the network of one machine among it
- **poll**: a workflow task waits for the worker's poll
- **sdk**: the SDK's Python: payloads visited, threads changed
- **codec**: values made into payloads and back, by client, workflow and steps; it interrupts whichever part it is in
- **sandbox**: entering and leaving the workflow's sandbox
- **ours**: workflow code, steps, client core

Some turns are spoken with marks and as many without: what the marks themselves cost is measured too.
"""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from rich.box import SIMPLE_HEAD
from rich.table import Table
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.bridge.worker import Worker as Bridge
from temporalio.client import Client
from temporalio.converter._payload_converter import _TemporalTransferTypePayloadConverter
from temporalio.worker._activity import _ActivityInboundImpl
from temporalio.worker._workflow_instance import _WorkflowInstanceImpl
from temporalio.worker.workflow_sandbox._runner import _Instance

from benchmarks.figures import percentile
from benchmarks.shapes import Shape
from gateway.conversations import Conversations

__all__ = ["PARTS", "explain", "parts", "table"]

PARTS = ("server", "poll", "sdk", "codec", "sandbox", "ours")
ROUNDS = 3  # of turns without marks, then with them

# What begins with each mark, until the next one.
_PART_AFTER = {
    "said": "ours",
    "call": "server",  # the client's call is on its way
    "workflow task": "sdk",
    "enter sandbox": "sandbox",
    "workflow": "ours",
    "leave workflow": "sandbox",
    "leave sandbox": "sdk",
    "workflow task done": "server",
    "activity task": "sdk",
    "step": "ours",
    "step done": "sdk",
    "activity task done": "server",
    "scheduled": "poll",  # by the server's clock
    "started": "server",
    "answered": "sdk",  # the client's call is back
    "replied": "",
}
# Conversions lie within any part, and in one another.
_DEEPER = {"convert": 1, "converted": -1}
# Every converter that the SDK makes is within one of these, as client, worker and workflow use it.
_Converter = _TemporalTransferTypePayloadConverter


@dataclass(slots=True)
class _Marks:
    """(seconds since the epoch, what happened)."""

    marks: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def mark(self, name: str) -> None:
        self.marks.append((time.time(), name))

    def called(self, owner: Any, method: str, before: str = "", after: str = "") -> Any:
        """Patches ``owner.method`` so that it leaves a mark when it is called, when it returns, or both."""
        original: Callable[..., Any] = getattr(owner, method)

        @wraps(original)
        def plain(*given: Any, **named: Any) -> Any:
            if before:
                self.mark(before)
            result = original(*given, **named)
            if after:
                self.mark(after)
            return result

        @wraps(original)
        async def awaited(*given: Any, **named: Any) -> Any:
            if before:
                self.mark(before)
            result = await original(*given, **named)
            if after:
                self.mark(after)
            return result

        asynchronous = original.__code__.co_flags & 0x80
        return patch.object(owner, method, awaited if asynchronous else plain)


@contextmanager
def _marking() -> Iterator[_Marks]:
    marks = _Marks()
    with ExitStack() as stack:
        for patched in (
            marks.called(Bridge, "poll_workflow_activation", after="workflow task"),
            marks.called(Bridge, "complete_workflow_activation", before="workflow task done"),
            marks.called(Bridge, "poll_activity_task", after="activity task"),
            marks.called(Bridge, "complete_activity_task", before="activity task done"),
            marks.called(_Instance, "activate", before="enter sandbox", after="leave sandbox"),
            marks.called(_WorkflowInstanceImpl, "activate", before="workflow", after="leave workflow"),
            marks.called(_ActivityInboundImpl, "execute_activity", before="step", after="step done"),
            marks.called(Conversations, "_sent", before="call", after="answered"),
            marks.called(_Converter, "to_payloads", before="convert", after="converted"),
            marks.called(_Converter, "from_payloads", before="convert", after="converted"),
        ):
            stack.enter_context(patched)
        yield marks


async def explain(client: Client, shapes: Mapping[str, Shape], *, turns: int) -> list[dict[str, Any]]:
    """For each of Parley's shapes: the medians of each part over ``turns`` turns, of their whole, and of as many turns
    without marks. ``unexplained``: the most milliseconds by which the parts of one turn miss its whole."""
    return [await _explain(client, shapes[name], turns) for name in ("turn", "pools")]


async def _explain(client: Client, shape: Shape, turns: int) -> dict[str, Any]:
    plain: list[float] = []
    spans: list[list[tuple[float, str]]] = []
    for _ in range(ROUNDS):
        without, marked = await _round(client, shape, turns // ROUNDS)
        plain += without
        spans += marked
    found = [parts(span) for span in spans]
    wholes = [1000 * (span[-1][0] - span[0][0]) for span in spans]
    return {
        "shape": shape.name,
        "turns": len(spans),
        "milliseconds": {part: round(percentile([each[part] for each in found], 50), 2) for part in PARTS},
        "whole": round(percentile(wholes, 50), 2),
        "unmarked": round(percentile(plain, 50), 2),
        "unexplained": max(abs(sum(each.values()) - whole) for each, whole in zip(found, wholes, strict=True)),
    }


async def _round(client: Client, shape: Shape, turns: int) -> tuple[list[float], list[list[tuple[float, str]]]]:
    """Milliseconds of ``turns`` turns without marks, then the marks of as many with them, in a conversation of its
    own: one that lasts for many rounds continues as new, and its last run's history has not the server's marks of all.
    """
    name, numbers = f"benchmark-{uuid.uuid4().hex}", itertools.count(1)
    plain: list[float] = []
    spans: list[list[tuple[float, str]]] = []
    await shape.speak(name, next(numbers))
    for _ in range(turns):
        began = time.perf_counter()
        await shape.speak(name, next(numbers))
        plain.append(1000 * (time.perf_counter() - began))
    with _marking() as marks:
        await shape.speak(name, next(numbers))  # ends the polls that began without marks
        for _ in range(turns):
            marks.marks.clear()
            marks.mark("said")
            await shape.speak(name, next(numbers))
            marks.mark("replied")
            spans.append(list(marks.marks))
    history = await client.get_workflow_handle(name).fetch_history()
    await shape.close(name)
    tasks = [mark for event in history.events if (mark := _of_server(event))]
    return plain, [sorted([*span, *(task for task in tasks if span[0][0] < task[0] < span[-1][0])]) for span in spans]


def _of_server(event: HistoryEvent) -> tuple[float, str] | None:
    """When a workflow task was scheduled, and when a poll took it."""
    names = {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: "scheduled",
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED: "started",
    }
    name = names.get(event.event_type)
    return (event.event_time.seconds + event.event_time.nanos / 1e9, name) if name else None


def parts(marks: list[tuple[float, str]]) -> dict[str, float]:
    """Milliseconds of each part; every moment between the first mark and the last belongs to one."""
    found: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    part, depth = "", 0
    for (begins, name), (ends, _) in pairwise(marks):
        if name in _DEEPER:
            depth = max(0, depth + _DEEPER[name])  # one that began before the first mark only ends here
        else:
            part = _PART_AFTER[name]
        found["codec" if depth else part] += 1000 * (ends - begins)
    return found


def table(explained: list[dict[str, Any]]) -> Table:
    title = "Where they go, one conversation at a time: median milliseconds of a turn"
    shown = Table("a turn is", title=title, title_style="", title_justify="left", box=SIMPLE_HEAD)
    for column in (*PARTS, "whole", "without marks"):
        shown.add_column(column, justify="right")
    for row in explained:
        each = (f"{row['milliseconds'][part]:.1f}" for part in PARTS)
        shown.add_row(
            {"turn": "six steps, one worker", "pools": "six steps, two pools"}[row["shape"]],
            *each,
            f"{row['whole']:.1f}",
            f"{row['unmarked']:.1f}",
        )
    return shown
