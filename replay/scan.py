"""Verifies many histories: in parallel processes, resumable from a state file, told as they are done."""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree

from temporalio.api.history.v1 import History
from temporalio.client import Client
from temporalio.converter import DataConverter

from dialogue.base import Value
from dialogue.faults import HistoryFault, InvalidRequest
from records.archive import ArchivedRun, RunArchive
from replay.exact import HistoryExact, history_exact
from replay.histories import RecordedRun, from_file, listed, live

__all__ = ["Found", "Scan", "junit", "of_archive", "of_files", "of_query", "scan"]


@dataclass(frozen=True)
class Found:
    """A history to verify. ``key`` names it and what it held when it was found, so that a longer one is done again."""

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
    """The runs that the server finds. Raises InvalidRequest for a query that it refuses."""
    return [
        Found(f"{each.id}/{each.run_id}:{each.history_length}", each.id, each.run_id)
        async for each in listed(client, query)
    ]


def of_archive(runs: Iterable[ArchivedRun]) -> list[Found]:
    """Named as the server named them, so that what was done while it had them is known."""
    return [Found(f"{each.workflow_id}/{each.run_id}:{each.events}", each.workflow_id, each.run_id) for each in runs]


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
    scan goes on.

    Raises InvalidRequest for a state file that is none.
    """
    if not arguments:
        found = [replace(each, key=f"{each.key}:commands") for each in found]
    known, read = _known(state), functools.partial(_read, converter, client, archive, namespace)
    results: dict[str, HistoryExact] = {each.key: known[each.key] for each in found if each.key in known}
    taken = len(results)
    left = [each for each in found if each.key not in results]
    with ExitStack() as stack:
        noted = stack.enter_context(state.open("a", encoding="utf-8")) if state else None
        pool = None
        if jobs > 1 and len(left) > 1:
            # Threads of Temporal's core do not live on in a fork.
            pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")))
        at_once = asyncio.Semaphore(2 * max(1, jobs))

        async def one(each: Found) -> None:
            async with at_once:
                result = await _verified(each, read, pool, arguments=arguments)
            results[each.key] = result
            _note(noted, each.key, result)
            if told is not None:
                told(result)

        await _all(one(each) for each in left)
    return Scan(results=tuple(results[each.key] for each in found), known=taken)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Side by side; the first exception ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _verified(
    found: Found,
    read: Callable[[Found], Coroutine[Any, Any, RecordedRun]],
    pool: ProcessPoolExecutor | None,
    *,
    arguments: bool,
) -> HistoryExact:
    try:
        run = await read(found)
    except HistoryFault as fault:
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
) -> RecordedRun:
    if found.path is not None:
        return await from_file(found.path, converter, namespace=namespace)
    if client is None:
        raise InvalidRequest("query: no server is connected.")
    return (await live(client, found.workflow_id, found.run_id, archive=archive)).runs[0]


def _in_a_process(workflow_id: str, source: str, packed: bytes, *, arguments: bool) -> str:
    run = RecordedRun(workflow_id, tuple(History.FromString(packed).events), source)
    return asyncio.run(history_exact(run, arguments=arguments)).model_dump_json()


def _known(state: Path | None) -> dict[str, HistoryExact]:
    if state is None or not state.exists():
        return {}
    found: dict[str, HistoryExact] = {}
    lines = state.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            noted: dict[str, Any] = json.loads(line)
            found[noted["key"]] = HistoryExact.model_validate(noted["result"])
        except (ValueError, KeyError, TypeError):
            if number == len(lines):  # the scan was ended in the middle of it
                break
            raise InvalidRequest(
                f"state: {state}:{number}: it is no state file of a scan. Name another one.", field="state"
            ) from None
    return found


def _note(noted: TextIO | None, key: str, result: HistoryExact) -> None:
    if noted is not None:
        noted.write(json.dumps({"key": key, "result": result.model_dump(mode="json")}) + "\n")
        noted.flush()


def junit(done: Scan) -> str:
    """The results as JUnit XML: a difference is a failure, what could not be checked an error."""
    counts = done.counts
    suite = ElementTree.Element(
        "testsuite",
        name="parley replay scan",
        tests=str(len(done.results)),
        failures=str(counts["differs"]),
        errors=str(counts["unchecked"]),
    )
    for each in done.results:
        case = ElementTree.SubElement(suite, "testcase", classname="history-exact", name=each.source)
        if each.state != "same":
            said = each.divergence.line() if each.divergence else each.why
            kind = "failure" if each.state == "differs" else "error"
            ElementTree.SubElement(case, kind, message=said).text = each.why
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
