"""A recorded conversation: the chain of its runs, what is wrong with each, and which are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from dialogue.faults import HistoryFault, NoSuchHistory, ParleyFault
from replay.events import attributes, kind, seconds

__all__ = ["Chain", "RecordedRun"]


@dataclass(frozen=True)
class RecordedRun:
    """One run. ``events`` are decoded as far as they could be; ``problems`` say what is wrong with them."""

    workflow_id: str
    events: tuple[HistoryEvent, ...]
    source: str
    problems: tuple[HistoryFault, ...] = field(default=())

    @cached_property
    def run_id(self) -> str:
        """Of a run that a reset made, its own and not that of the run whose beginning it took over."""
        if self._reset is not None:
            return attributes(self._reset).new_run_id
        return attributes(self.events[0]).original_execution_run_id if self.began else ""

    @cached_property
    def _reset(self) -> HistoryEvent | None:
        """The last reset before which all was taken over from another run."""
        failed = (event for event in reversed(self.events) if kind(event) == "WORKFLOW_TASK_FAILED")
        return next((event for event in failed if attributes(event).new_run_id), None)

    @property
    def began(self) -> bool:
        """Whether its first event, the start, is there."""
        return kind(self.events[0]) == "WORKFLOW_EXECUTION_STARTED"

    @property
    def workflow_type(self) -> str:
        return attributes(self.events[0]).workflow_type.name if self.began else ""

    @property
    def started_at(self) -> float:
        """Seconds since the epoch; of a run that a reset made, when that was."""
        return seconds((self._reset or self.events[0]).event_time)

    @property
    def next_run_id(self) -> str | None:
        """The run that it continued as."""
        last = self.events[-1]
        return attributes(last).new_execution_run_id if kind(last).endswith("CONTINUED_AS_NEW") else None

    @property
    def before_run_id(self) -> str | None:
        """The run that continued as this one."""
        return attributes(self.events[0]).continued_execution_run_id or None if self.began else None

    def history(self) -> WorkflowHistory:
        """As the SDK's Replayer takes it."""
        return WorkflowHistory(self.workflow_id, self.events)


@dataclass(frozen=True)
class Chain:
    """All runs of one conversation, oldest first: continued as new, reopened, reset.

    ``unasked``: why more runs may be missing: the archive or the server could not be asked. ``unopened``: the archived
    runs that cannot be opened, and why, by run id. ``alone``: one run was asked for by its id, so none is missed.
    """

    workflow_id: str
    runs: tuple[RecordedRun, ...]
    unasked: tuple[ParleyFault, ...] = ()
    unopened: Mapping[str, ParleyFault] = field(default_factory=dict[str, ParleyFault])
    alone: bool = False

    @property
    def problems(self) -> tuple[ParleyFault, ...]:
        """What is wrong with its runs, and what is missing."""
        return (*(problem for run in self.runs for problem in run.problems), *self.missing)

    @property
    def missing(self) -> tuple[ParleyFault, ...]:
        """Why it is not whole: a fault for each run that is known of and not here, and why there may be more."""
        return () if self.alone else (*self.unopened.values(), *self._absent(), *self.unasked)

    def only(self, run_id: str) -> Chain:
        """That run alone. Raises NoSuchHistory."""
        found = tuple(run for run in self.runs if run.run_id == run_id)
        if not found:
            held = ", ".join(run.run_id for run in self.runs)
            raise NoSuchHistory(f"run: {self.workflow_id} has no run {run_id} here; it has {held}.", field="run")
        return Chain(self.workflow_id, found, alone=True)

    def _absent(self) -> Iterator[NoSuchHistory]:
        known = {run.run_id for run in self.runs} | self.unopened.keys()
        for run in self.runs:
            neighbours = ((run.before_run_id, "continued as"), (run.next_run_id, "continues"))
            for name, does in neighbours:
                if name and name not in known:
                    known.add(name)
                    yield NoSuchHistory(
                        f"{self.workflow_id}: its run {name} is not here, which {does} run {run.run_id}: what is shown "
                        "is a part. Temporal and the archive keep runs as long as temporal.retention and "
                        "records.retention.archive say. Give the exported history of every run with --file, or look "
                        "at one run alone with --run.",
                        field="workflow",
                    )
