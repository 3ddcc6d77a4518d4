"""Where histories come from: the server and the archive, or files that were exported. One conversation is one chain of
runs, wherever each of them is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode

from dialogue.faults import (
    HistoryFault,
    InvalidRequest,
    NoSuchHistory,
    ParleyFault,
    RecordsUnavailable,
)
from records.archive import RunArchive
from replay.decoding import decode_events
from replay.events import attributes, kind, seconds
from replay.exported import read_exported, read_text
from replay.integrity import check_kinds, check_order, check_payloads, check_type

__all__ = [
    "Chain",
    "RecordedRun",
    "archived",
    "from_file",
    "from_files",
    "from_text",
    "history_files",
    "listed",
    "live",
]

_LONGEST_CHAIN = 10_000

Read = Callable[["RecordedRun"], None]


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
    """All runs of one conversation, oldest first: continued as new, reopened, reset. ``unasked``: why runs may be
    missing, because the archive or the server could not be asked."""

    workflow_id: str
    runs: tuple[RecordedRun, ...]
    unasked: ParleyFault | None = None

    @property
    def problems(self) -> tuple[ParleyFault, ...]:
        found: list[ParleyFault] = [problem for run in self.runs for problem in run.problems]
        return tuple(found if self.unasked is None else [*found, self.unasked])


async def live(
    client: Client,
    workflow_id: str,
    run_id: str | None = None,
    *,
    archive: RunArchive | None = None,
    told: Read | None = None,
) -> Chain:
    """The chain as the server has it, and of what it has forgotten the ``archive``; with ``run_id`` that run alone.
    ``told`` is called with each run as it was read.

    Raises NoSuchHistory where neither has one, HistoryForeign, and ContentMissing for an archived one that is damaged.
    """
    runs: dict[str, RecordedRun] = {}
    lost: RecordsUnavailable | None = None
    try:
        if archive is not None:
            kept = await archived(archive, workflow_id, run_id, client.data_converter, client.namespace, told=told)
            runs = {run.run_id: run for run in kept.runs}
    except RecordsUnavailable as fault:  # what the server has is shown all the same
        lost = fault
    try:
        if run_id is None:
            runs |= await _held(client, workflow_id, told)
        elif not runs:
            runs[run_id] = await _fetch(client, workflow_id, run_id, told)
    except NoSuchHistory:
        if lost is not None:
            raise lost from None
        if not runs:
            raise
    return Chain(workflow_id, tuple(sorted(runs.values(), key=lambda run: run.started_at)), lost)


async def archived(
    archive: RunArchive,
    workflow_id: str,
    run_id: str | None,
    converter: DataConverter,
    namespace: str,
    *,
    told: Read | None = None,
) -> Chain:
    """What the archive alone has of the chain, or of the one run; perhaps none. Raises RecordsUnavailable,
    HistoryForeign, and ContentMissing for one that is damaged."""
    runs: list[RecordedRun] = []
    for kept in await archive.find(workflow_id, run_id):
        source = f"{workflow_id}/{kept.run_id[:8]} (archived)"
        runs.append(await _recorded(workflow_id, (await archive.history(kept)).events, source, converter, namespace))
        if told is not None:
            told(runs[-1])
    return Chain(workflow_id, tuple(runs))


async def _held(client: Client, workflow_id: str, told: Read | None) -> dict[str, RecordedRun]:
    """What the server has of the chain."""
    runs: dict[str, RecordedRun] = {}
    newest = await _fetch(client, workflow_id, None, told)
    waiting: list[str | None] = [newest.before_run_id]
    runs[newest.run_id] = newest
    # What was reopened or reset is no continuation: only the visibility store knows that it belongs here.
    waiting += [run async for run in _listed_runs(client, workflow_id)]
    for name in waiting:
        while name and name not in runs and len(runs) < _LONGEST_CHAIN:
            try:
                run = await _fetch(client, workflow_id, name, told)
            except NoSuchHistory:  # its retention is over
                break
            runs[name] = run
            name = run.before_run_id
    return runs


async def _listed_runs(client: Client, workflow_id: str) -> AsyncIterator[str]:
    quoted = workflow_id.replace("'", "''")
    try:
        async for found in client.list_workflows(f"WorkflowId = '{quoted}'"):
            yield found.run_id
    except RPCError:  # a store that cannot be asked costs the reopened runs, not the newest chain
        return


async def _fetch(client: Client, workflow_id: str, run_id: str | None, told: Read | None) -> RecordedRun:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        history = await handle.fetch_history()
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise
        which = f"run {run_id} of {workflow_id}" if run_id else workflow_id
        raise NoSuchHistory(
            f"workflow: Temporal has no {which} (any more), and it is not archived. Closed runs are kept as long as "
            "records.retention.archive says; give an exported one with --file.",
            field="workflow",
        ) from None
    run = await _recorded(
        workflow_id,
        history.events,
        f"{workflow_id}/{run_id[:8]}" if run_id else workflow_id,
        client.data_converter,
        client.namespace,
    )
    if told is not None:
        told(run)
    return run


async def listed(client: Client, query: str) -> AsyncIterator[WorkflowExecution]:
    """The runs of a search-attribute query, newest first. Raises InvalidRequest where the server refuses the query."""
    try:
        async for found in client.list_workflows(query):
            yield found
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        why = " ".join(error.message.split()).rstrip(".")
        raise InvalidRequest(
            f"query: the server refuses it: {why}. See docs/operations.md for examples.", field="query"
        ) from None


def history_files(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and the JSON files of folders, by name. Raises InvalidRequest for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(path.glob("*.json"))
        elif path.is_file():
            found.append(path)
        else:
            raise InvalidRequest(f"file: {path}: no such file or folder.", field="file")
    if not found:
        raise InvalidRequest("file: there is no .json file in it.", field="file")
    return found


async def from_files(
    paths: Sequence[Path], converter: DataConverter, *, namespace: str = "default", told: Read | None = None
) -> list[Chain]:
    """The conversations in these files, each with all its runs that are there, in the order of the files. ``told`` is
    called with each run as it was read.

    Raises HistoryUnreadable and HistoryForeign for a file of which nothing can be shown.
    """
    chains: dict[str, list[RecordedRun]] = {}
    for path in paths:
        run = await from_file(path, converter, namespace=namespace)
        if told is not None:
            told(run)
        chains.setdefault(run.workflow_id, []).append(run)
    return [Chain(name, tuple(sorted(runs, key=lambda run: run.started_at))) for name, runs in chains.items()]


async def from_file(path: Path, converter: DataConverter, *, namespace: str = "default") -> RecordedRun:
    """One run. Raises HistoryUnreadable and HistoryForeign."""
    events, problems = await asyncio.to_thread(read_exported, path)
    return await _of_file(path, events, converter, namespace, problems)


async def from_text(path: Path, text: str, converter: DataConverter, *, namespace: str = "default") -> RecordedRun:
    """One run out of an exported text; ``path`` is what messages call it. Raises as :func:`from_file`."""
    events, problems = await asyncio.to_thread(read_text, path, text)
    return await _of_file(path, events, converter, namespace, problems)


async def _of_file(
    path: Path,
    events: Sequence[HistoryEvent],
    converter: DataConverter,
    namespace: str,
    problems: Sequence[HistoryFault],
) -> RecordedRun:
    workflow_id = attributes(events[0]).workflow_id if kind(events[0]) == "WORKFLOW_EXECUTION_STARTED" else ""
    return await _recorded(workflow_id or path.stem, events, str(path), converter, namespace, problems)


async def _recorded(
    workflow_id: str,
    events: Sequence[HistoryEvent],
    source: str,
    converter: DataConverter,
    namespace: str,
    problems: Sequence[HistoryFault] = (),
) -> RecordedRun:
    foreign = check_type(events, source)
    if foreign is not None:
        raise foreign
    found: list[HistoryFault | None] = [*(problems or [check_kinds(events, source)]), check_order(events, source)]
    decoded, locked = await decode_events(
        events, converter, namespace=namespace, workflow_id=workflow_id, source=source
    )
    found.append(locked or check_payloads(decoded, source))
    return RecordedRun(workflow_id, decoded, source, tuple(problem for problem in found if problem is not None))
