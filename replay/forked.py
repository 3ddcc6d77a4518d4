"""What a run's history says of the fork that made it: who set it back, to before which turn, and why.

Who and where stands in the reset's own event, in clear, because Temporal passes a reset's reason through no codec. Why
stands in the message to the workflow, which is sealed where the site encrypts.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.api.history.v1 import HistoryEvent

from dialogue.messages import Forked
from replay.chain import RecordedRun
from replay.events import attributes, first_value, kind
from replay.turns import parsed
from workflows.names import FORKED

__all__ = ["fork_reason", "forked_line"]

_BEGINS = "forked before turn "


def fork_reason(told: Forked) -> str:
    """For the reset's event: what may stand in clear."""
    return f"{_BEGINS}{told.before} by {told.by}"


def forked_line(run: RecordedRun) -> str:
    """``forked before turn 2 by ann: a wrong document``. Without why where that cannot be decoded; empty for a run that
    no fork made."""
    for number in reversed(range(len(run.events))):
        inside = attributes(run.events[number])
        if kind(run.events[number]) == "WORKFLOW_TASK_FAILED" and inside.new_run_id == run.run_id:
            said: str = inside.failure.message
            if not said.startswith(_BEGINS):
                return ""
            why = _why(said, run.events[number + 1 :])
            return f"{said}: {why}" if why else said
    return ""


def _why(said: str, since: Sequence[HistoryEvent]) -> str:
    """Of the first such message behind the task that the reset scheduled, where it is told what made it. Before that
    task stands what the reset handed on, and of earlier forks too; forks of this run come later."""
    scheduled = False
    for event in since:
        scheduled = scheduled or kind(event) == "WORKFLOW_TASK_SCHEDULED"
        inside = attributes(event)
        if scheduled and kind(event) == "WORKFLOW_EXECUTION_SIGNALED" and inside.signal_name == FORKED:
            message = parsed(first_value(inside.input), Forked)
            if message is not None and fork_reason(message) == said:
                return message.why
    return ""
