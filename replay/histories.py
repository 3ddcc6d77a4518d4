"""Where histories come from: the server and the archive, or files that were exported. One conversation is one chain of
runs, wherever each of them is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter

from dialogue.faults import (
    ContentMissing,
    HistoryFault,
    HistoryUnreadable,
    InvalidRequest,
    NoSuchHistory,
    ParleyFault,
    RecordsUnavailable,
)
from records.archive import RunArchive
from replay.chain import Chain, RecordedRun
from replay.decoding import decode_events
from replay.events import attributes, kind
from replay.exported import read_exported, read_text
from replay.integrity import check_kinds, check_order, check_payloads, check_type
from replay.server import fetched, newest_run_id, run_ids

__all__ = [
    "archived",
    "from_file",
    "from_files",
    "from_text",
    "history_files",
    "live",
]

_LONGEST_CHAIN = 10_000

Read = Callable[["RecordedRun"], None]


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

    Raises HistoryForeign, and where neither has a run of it NoSuchHistory; RecordsUnavailable or ContentMissing where
    the archive may have one that it cannot give, and HistoryUnreadable or ``ConnectionError`` where the server does.
    """
    kept, unasked = Chain(workflow_id, ()), list[ParleyFault]()
    try:
        if archive is not None:
            kept = await archived(archive, workflow_id, run_id, client.data_converter, client.namespace, told=told)
    except RecordsUnavailable as fault:  # what the server has is shown all the same
        unasked.append(fault)
    runs, unopened = {run.run_id: run for run in kept.runs}, dict(kept.unopened)
    try:
        if run_id is None:
            held = await _held(client, workflow_id, told)
            runs |= held.runs
            unopened |= held.unopened
            unasked += held.unasked
        elif not runs:
            runs[run_id] = await _fetch(client, workflow_id, run_id, told)
    except NoSuchHistory:
        if not runs:
            for why in (*unasked, *unopened.values()):
                raise why from None
            raise
    except (HistoryUnreadable, ConnectionError) as error:
        if not runs:
            raise
        unasked.append(NoSuchHistory(f"{error} Shown is what the archive has.", field="workflow"))
    return Chain(
        workflow_id,
        _ordered(runs.values()),
        unasked=tuple(unasked),
        unopened={name: why for name, why in unopened.items() if name not in runs},
        alone=run_id is not None,
    )


async def archived(
    archive: RunArchive,
    workflow_id: str,
    run_id: str | None,
    converter: DataConverter,
    namespace: str,
    *,
    told: Read | None = None,
) -> Chain:
    """What the archive alone has of the chain, or of the one run; perhaps none. One that is damaged is ``unopened``.
    Raises RecordsUnavailable and HistoryForeign."""
    runs: list[RecordedRun] = []
    unopened: dict[str, ParleyFault] = {}
    for kept in await archive.find(workflow_id, run_id):
        source = f"{workflow_id}/{kept.run_id[:8]} (archived)"
        try:
            history = await archive.history(kept)
        except ContentMissing as fault:
            unopened[kept.run_id] = ContentMissing(f"{source}: its history cannot be opened: {fault.message}")
            continue
        runs.append(await _recorded(workflow_id, history.events, source, converter, namespace))
        if told is not None:
            told(runs[-1])
    return Chain(workflow_id, tuple(runs), unopened=unopened, alone=run_id is not None)


def _ordered(runs: Iterable[RecordedRun]) -> tuple[RecordedRun, ...]:
    return tuple(sorted(runs, key=lambda run: run.started_at))


@dataclass
class _Held:
    """What the server has of a chain: the runs that it gives, why it does not give others, by run id, and why there may
    be more."""

    runs: dict[str, RecordedRun] = field(default_factory=dict[str, RecordedRun])
    unopened: dict[str, ParleyFault] = field(default_factory=dict[str, ParleyFault])
    unasked: list[ParleyFault] = field(default_factory=list[ParleyFault])


async def _held(client: Client, workflow_id: str, told: Read | None) -> _Held:
    """Raises NoSuchHistory where it has none, and HistoryUnreadable where it gives none of them."""
    held, before = _Held(), None
    refused: HistoryUnreadable | None = None
    try:
        newest = await _fetch(client, workflow_id, None, told)
        held.runs[newest.run_id], before = newest, newest.before_run_id
    except HistoryUnreadable as fault:
        refused, before = fault, await newest_run_id(client, workflow_id)
    # What was reopened or reset is no continuation: only the visibility store knows that it belongs here.
    also, unlisted = await run_ids(client, workflow_id)
    held.unasked += unlisted
    for name in (before, *also):
        while name and not (name in held.runs or name in held.unopened or len(held.runs) >= _LONGEST_CHAIN):
            try:
                run = await _fetch(client, workflow_id, name, told)
            except NoSuchHistory:  # its retention is over
                break
            except HistoryUnreadable as fault:
                held.unopened[name] = fault
                break
            held.runs[name] = run
            name = run.before_run_id
    if refused and not held.runs:
        raise refused
    if refused and not held.unopened:  # its id is not known
        held.unasked.append(refused)
    return held


async def _fetch(client: Client, workflow_id: str, run_id: str | None, told: Read | None) -> RecordedRun:
    """Raises as :func:`replay.server.fetched`, and HistoryForeign."""
    history = await fetched(client, workflow_id, run_id)
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
    return [Chain(name, _ordered(runs)) for name, runs in chains.items()]


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
