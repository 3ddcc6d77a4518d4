"""Verifies many histories: in parallel processes, resumable from a state file, told as they are done."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from temporalio.api.history.v1 import History
from temporalio.client import Client
from temporalio.converter import DataConverter

from dialogue.base import Value
from dialogue.faults import HistoryFault, InvalidRequest, RecordsFault
from records.archive import ArchivedRun, RunArchive
from replay.chain import RecordedRun
from replay.exact import HistoryExact, history_exact
from replay.histories import from_file, live
from replay.replayer import quiet_logs
from replay.scan_state import ScanState
from replay.server import listed
from workers.build import code_digest

__all__ = ["Found", "Scan", "junit", "of_archive", "of_files", "of_query", "scan"]

_VERIFIES = ("dialogue", "records", "replay", "workflows")
"""The packages whose code a result is of."""
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 takes in no form, escaped or not."""


@dataclass(frozen=True)
class Found:
    """A history to verify. ``key`` names it and what it held when it was found, so that a longer one is done again;
    it is empty of a run that goes on, whose length is known when it was read."""

    key: str
    workflow_id: str = ""
    run_id: str = ""
    path: Path | None = None


class Scan(Value):
    """What came of a scan. ``known`` of the results were taken from the state file."""

    results: tuple[HistoryExact, ...]
    known: int = 0

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(each.state for each in self.results)
        return {state: counted[state] for state in ("same", "differs", "unchecked")}

    @property
    def events(self) -> int:
        return sum(each.events for each in self.results)


def of_files(paths: Iterable[Path]) -> list[Found]:
    found: list[Found] = []
    for path in paths:
        status = path.stat()
        found.append(Found(f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}", path=path))
    return found


async def of_query(client: Client, query: str) -> list[Found]:
    """The runs that the server finds. Raises InvalidRequest for a query that it refuses, and ``ConnectionError`` where
    it answers none."""
    return [
        # Of a run that goes on the server lists the length 0.
        Found(_key(each.id, each.run_id, each.history_length) if each.close_time else "", each.id, each.run_id)
        async for each in listed(client, query)
    ]


def of_archive(runs: Iterable[ArchivedRun]) -> list[Found]:
    """Named as the server named them, so that what was done while it had them is known."""
    return [Found(_key(each.workflow_id, each.run_id, each.events), each.workflow_id, each.run_id) for each in runs]


def _key(workflow_id: str, run_id: str, events: int) -> str:
    return f"{workflow_id}/{run_id}:{events}"


async def scan(
    found: Sequence[Found],
    converter: DataConverter,
    *,
    client: Client | None = None,
    archive: RunArchive | None = None,
    namespace: str = "default",
    jobs: int = 1,
    arguments: bool = True,
    state: Path | None = None,
    told: Callable[[HistoryExact], None] | None = None,
) -> Scan:
    """Each history once; ``arguments`` as :func:`~replay.exact.history_exact` has it. ``archive``: has what the server
    forgot. ``jobs``: processes; 1 replays in this one. ``state``: where what is done is noted, and taken from when the
    scan goes on; what could not be checked is tried again, and what other code verified is verified by this one.

    Raises InvalidRequest for a state file that is none, and ``ConnectionError`` where the server is gone.
    """
    read, suffix = functools.partial(_read, converter, client, archive, namespace), "" if arguments else ":commands"
    results: dict[Found, HistoryExact] = {}
    with ExitStack() as stack:
        notes = ScanState.open(state, code_digest(_VERIFIES)) if state else ScanState()
        stack.callback(notes.close)
        for each in dict.fromkeys(found):
            if each.key and (done := notes.known.get(each.key + suffix)):
                results[each] = done
        taken, left = len(results), [each for each in dict.fromkeys(found) if each not in results]
        pool = None
        if jobs > 1 and len(left) > 1:
            # Threads of Temporal's core do not live on in a fork.
            spawn = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=spawn, initializer=quiet_logs))
        at_once = asyncio.Semaphore(2 * max(1, jobs))

        async def one(each: Found) -> None:
            nonlocal taken
            async with at_once:
                run = await read(each)
                events = run.events if isinstance(run, HistoryExact) else len(run.events)
                key = (each.key or _key(each.workflow_id, each.run_id, events)) + suffix
                result = notes.known.get(key) if events else None
                taken += result is not None
                if result is None:
                    result = run if isinstance(run, HistoryExact) else await _verified(run, pool, arguments=arguments)
                    notes.add(key, result)
            results[each] = result
            if told is not None:
                told(result)

        await _all(one(each) for each in left)
    return Scan(results=tuple(results[each] for each in found), known=taken)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side; the first exception ends the others, and is raised as it is once they have ended."""
    try:
        # A group cancels each once: a second time would break into the Replayer's own way out, which then never ends.
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _verified(run: RecordedRun, pool: ProcessPoolExecutor | None, *, arguments: bool) -> HistoryExact:
    if pool is None or run.problems:
        return await history_exact(run, arguments=arguments)
    packed = History(events=run.events).SerializeToString()
    loop = asyncio.get_running_loop()
    try:
        work = functools.partial(_in_a_process, run.workflow_id, run.source, packed, arguments=arguments)
        done = await loop.run_in_executor(pool, work)
    except BrokenProcessPool:  # one was killed, for want of memory perhaps: this one goes on alone
        return await history_exact(run, arguments=arguments)
    return HistoryExact.model_validate_json(done)


async def _read(
    converter: DataConverter, client: Client | None, archive: RunArchive | None, namespace: str, found: Found
) -> RecordedRun | HistoryExact:
    """The run; the result where it cannot be read: one that is damaged stops no other."""
    try:
        if found.path is not None:
            return await from_file(found.path, converter, namespace=namespace)
        if client is None:
            raise InvalidRequest("query: no server is connected.")
        return (await live(client, found.workflow_id, found.run_id, archive=archive)).runs[0]
    except (HistoryFault, RecordsFault) as fault:
        source = str(found.path or f"{found.workflow_id}/{found.run_id[:8]}")
        return HistoryExact(
            workflow_id=found.workflow_id or source,
            run_id=found.run_id,
            source=source,
            state="unchecked",
            events=0,
            turns=0,
            why=fault.message,
        )


def _in_a_process(workflow_id: str, source: str, packed: bytes, *, arguments: bool) -> str:
    run = RecordedRun(workflow_id, tuple(History.FromString(packed).events), source)
    return asyncio.run(history_exact(run, arguments=arguments)).model_dump_json()


def junit(done: Scan) -> str:
    """The results as JUnit XML: a difference is a failure, what could not be checked an error. A character that XML has
    no place for is U+FFFD."""
    counts = done.counts
    suite = ElementTree.Element(
        "testsuite",
        name="parley replay scan",
        tests=str(len(done.results)),
        failures=str(counts["differs"]),
        errors=str(counts["unchecked"]),
    )
    for each in done.results:
        case = ElementTree.SubElement(suite, "testcase", classname="history-exact", name=_xml(each.source))
        if each.state != "same":
            said = each.divergence.line() if each.divergence else each.why
            kind = "failure" if each.state == "differs" else "error"
            ElementTree.SubElement(case, kind, message=_xml(said)).text = _xml(each.why)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
