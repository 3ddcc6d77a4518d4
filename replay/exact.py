"""The tier *history-exact*: today's workflow code, run over a recorded history, makes the same commands.

Kind and order are held against the history by Temporal's own Replayer; what each command brings, its arguments, by
:class:`~replay.commands.CommandCheck`. No activity is called.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from temporalio.api.history.v1 import History

from dialogue.base import Value
from dialogue.faults import HistoryLocked, HistoryUnreadable
from replay.chain import RecordedRun
from replay.commands import Divergence
from replay.events import attributes, kind
from replay.other_code import replayed_with
from replay.replayer import replayed
from replay.run_reader import RunReader
from replay.values import BadValue

__all__ = ["HistoryExact", "State", "history_exact"]

State = Literal["same", "differs", "unchecked"]
_EVENT = re.compile(r"HistoryEvent\(id: (\d+), (\w+)\)")
_BROKE_DOWN = re.compile(r'Workflow activation completion failed: .*?message: "((?:[^"\\]|\\.)*)"')


class HistoryExact(Value):
    """What came of one run. ``same_commands``: Temporal's Replayer is content, whatever the commands bring. ``newer``:
    fields that one side alone has, told and not counted as a difference. ``why``: the reason where it could not be
    checked, and the Replayer's own words where it differs."""

    workflow_id: str
    run_id: str
    source: str
    state: State
    events: int
    turns: int
    same_commands: bool = False
    divergence: Divergence | None = None
    newer: tuple[str, ...] = ()
    why: str = ""


async def history_exact(
    run: RecordedRun,
    *,
    code: Path | None = None,
    arguments: bool = True,
    told: Callable[[float], None] | None = None,
) -> HistoryExact:
    """Today's code, or that of the checkout ``code``. Never raises for what is wrong with the history: that is its
    result. Decoding comes first, because a missing key would look like another behaviour of the workflow; so would a
    value that today's types do not take, which is ``unchecked`` for that reason.

    ``arguments``: whether another content of a command is a difference. To a worker it is none: it goes on. ``told`` is
    called with the share that is done, 0 to 1, from another thread.

    Raises InvalidRequest for a ``code`` that is no checkout.
    """
    of_the_run = {
        "workflow_id": run.workflow_id,
        "run_id": run.run_id,
        "source": run.source,
        "events": len(run.events),
        "turns": _turns(run),
    }
    for problem in run.problems:
        cannot = isinstance(problem, HistoryLocked | HistoryUnreadable) or not run.began
        return HistoryExact(**of_the_run, state="unchecked" if cannot else "differs", why=problem.message)
    if code is None:
        failure, check = await replayed(run.workflow_id, run.events, told)
        found, unknown = check.found, sorted(check.unknown)
    else:
        packed = History(events=run.events).SerializeToString()
        said = await asyncio.to_thread(replayed_with, code, run.workflow_id, packed)
        failure, unknown = said["failure"], said["unknown"]
        found = [Divergence.model_validate(each) for each in said["found"]]
    if not (arguments or failure):
        found = []
    divergence = min(found, key=lambda each: each.event or 0, default=None)
    if failure and (divergence is None or _event_of(failure) is not None):
        divergence = _first(divergence, _in_words(failure, run))
    if divergence is not None and (code is None or divergence.event is None) and (bad := _bad_value(run, divergence)):
        return HistoryExact(**of_the_run, state="unchecked", newer=tuple(unknown), why=bad.fault.message)
    state: State = "differs" if failure or divergence else "same"
    return HistoryExact(
        **of_the_run, state=state, same_commands=not failure, divergence=divergence, newer=tuple(unknown), why=failure
    )


def _turns(run: RecordedRun) -> int:
    return sum(
        kind(event) == "ACTIVITY_TASK_SCHEDULED" and attributes(event).activity_type.name == "return_answer"
        for event in run.events
    )


def _bad_value(run: RecordedRun, divergence: Divergence) -> BadValue | None:
    """The first recorded value that today's types do not take, where it comes before the divergence: a workflow that
    is given it breaks down, or goes another way for that reason."""
    reader = RunReader(run, 1, ended="")
    reader.read()
    first = min(reader.values.bad, key=lambda bad: bad.event, default=None)
    return first if first is None or divergence.event is None or first.event < divergence.event else None


def _event_of(failure: str) -> int | None:
    named = _EVENT.search(failure)
    return int(named[1]) if named else None


def _first(a: Divergence | None, b: Divergence) -> Divergence:
    """The earlier of both; of the same event the one that knows the field."""
    if a is None:
        return b
    if a.event is None or b.event is None:
        return a if b.event is None else b
    return a if a.event <= b.event else b


def _in_words(failure: str, run: RecordedRun) -> Divergence:
    number = _event_of(failure)
    event = next((each for each in run.events if each.event_id == number), None)
    if event is None:
        return Divergence(event=None, step="the run", field="its course", recorded="another", today=_plain(failure))
    inside = attributes(event)
    named = getattr(getattr(inside, "activity_type", None), "name", "") or kind(event).lower().replace("_", " ")
    doubled = "does not handle this event" in failure
    today = "something else, or nothing" if doubled else _plain(failure)
    return Divergence(event=number, step=named, field="what comes here", recorded=named, today=today)


def _plain(failure: str) -> str:
    """The Replayer's own words, without its code and its debug output."""
    if (broke := _BROKE_DOWN.search(failure)) is not None:
        return f"a breakdown ({broke[1][:200]})"
    text = re.sub(r"^\S*:?\s*\[TMPRL\d+\] Nondeterminism error:\s*", "", failure)
    return text if len(text) <= 200 else f"{text[:199]}…"
