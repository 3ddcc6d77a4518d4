"""``parley replay scan``."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from datetime import datetime

    from temporalio.client import Client

    from dialogue.faults import RecordsUnavailable
    from records.archive import RunArchive
    from replay.exact import HistoryExact
    from replay.scan import Found, Scan

__all__ = ["scan"]


async def scan(
    *files: Path,
    query: Annotated[str | None, Parameter(help="A search-attribute query: Verdict = 'block'.")] = None,
    since: Annotated[str | None, Parameter(help="Runs that began at or after this time (ISO 8601).")] = None,
    until: Annotated[str | None, Parameter(help="Runs that began before this time.")] = None,
    jobs: Annotated[int | None, Parameter(help="Processes; else one for each two cores.")] = None,
    arguments: Annotated[
        bool, Parameter(help="Whether another content of a command is a difference too, or its kind and order alone.")
    ] = True,
    state: Annotated[Path | None, Parameter(help="Notes what is done here, and goes on from it.")] = None,
    junit: Annotated[Path | None, Parameter(help="Also write a JUnit report.")] = None,
    json: Json = False,
) -> int:
    """Verify many histories, history-exact.

    Parameters
    ----------
    files
        Exported histories, or folders of them; else what the server finds with --query, --since and --until, and
        without --query what the archive has of that time.
    """
    from cli.console import output, print_json
    from cli.progress import share_bar
    from cli.replay_source import archive_of, tell_faults
    from cli.replay_verify import code_of
    from dialogue.faults import InvalidRequest
    from records.connection import connect
    from records.protected import protection_of
    from replay.histories import history_files
    from replay.replayer import quiet_logs
    from replay.scan import junit as junit_of
    from replay.scan import of_files
    from replay.scan import scan as scan_all
    from replay.site import site_converter
    from settings.load import load

    quiet_logs()
    settings = load()
    if bool(files) == bool(query or since or until):
        raise InvalidRequest("files: give files or folders, or one of --query, --since and --until.")
    times = _moments(since, until)
    if junit is not None:
        _check(junit)
    async with AsyncExitStack() as stack:
        client = archive = None
        unasked: tuple[RecordsUnavailable, ...] = ()
        if files:
            found = of_files(history_files(files))
        else:
            client = await connect(settings.temporal, protection=protection_of(settings))
            archive, unasked = await stack.enter_async_context(archive_of(settings))
            found = await _found(client, archive, query, *times)
        tell, done = stack.enter_context(share_bar()), 0

        def told(result: HistoryExact) -> None:
            nonlocal done
            done += 1
            tell(f"{done} of {len(found)} · {result.source}", done / len(found))

        result = await scan_all(
            found,
            site_converter(settings),
            client=client,
            archive=archive,
            namespace=settings.temporal.namespace,
            jobs=jobs or max(1, len(os.sched_getaffinity(0)) // 2),
            arguments=arguments,
            state=state,
            told=told,
        )
    if json:
        print_json({"counts": result.counts, "events": result.events, "results": result.results})
    else:
        output().print(_view(result))
    tell_faults(unasked)
    if junit is not None:  # at the end: what was found is told, whatever becomes of the file
        _write(junit, junit_of(result))
    return code_of([*(each.state for each in result.results), *("unchecked" for _ in unasked)])


def _check(junit: Path) -> None:
    """Before hours of work that it could not take. Raises InvalidRequest."""
    from dialogue.faults import InvalidRequest

    if junit.is_dir():
        raise InvalidRequest(f"junit: {junit} is a folder. Name a file.", field="junit")
    if not junit.parent.is_dir():
        raise InvalidRequest(f"junit: there is no folder {junit.parent}. Make it, or name another.", field="junit")


def _write(junit: Path, report: str) -> None:
    """Raises InvalidRequest."""
    from dialogue.faults import InvalidRequest

    try:
        junit.write_text(report, "utf-8")
    except OSError as error:
        raise InvalidRequest(
            f"junit: {junit} cannot be written ({error.strerror}). Name another file.", field="junit"
        ) from error


def _moments(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    from cli.replay_find import moment

    return moment(since, "since") if since else None, moment(until, "until") if until else None


async def _found(
    client: Client, archive: RunArchive | None, query: str | None, since: datetime | None, until: datetime | None
) -> list[Found]:
    """What the server finds; without a query, which it alone understands, also what the archive has of that time."""
    from replay.scan import of_archive, of_query
    from workflows.names import CONVERSATION_WORKFLOW, DIALOGUE_WORKFLOW

    asked = [f"({query})"] if query else []
    asked += [f"StartTime >= '{since.isoformat()}'"] if since else []
    asked += [f"StartTime < '{until.isoformat()}'"] if until else []
    asked += [f"WorkflowType IN ('{CONVERSATION_WORKFLOW}', '{DIALOGUE_WORKFLOW}')"]
    found = await of_query(client, " AND ".join(asked))
    if archive is None or query:
        return found
    listed = {each.run_id for each in found}
    return [*found, *of_archive(run for run in await archive.begun(since, until) if run.run_id not in listed)]


def _view(result: Scan) -> object:
    from rich.console import Group
    from rich.text import Text

    from cli.tables import rows

    lines = [
        (
            each.source,
            {"differs": "differs", "unchecked": "?"}[each.state],
            each.divergence.line() if each.divergence else each.why,
        )
        for each in result.results
        if each.state != "same"
    ]
    counts = result.counts
    turns = sum(each.turns for each in result.results)
    known = f" · {result.known} known from before" if result.known else ""
    said = f"history-exact  {len(result.results)} histories · {turns} turns · {result.events} events{known}"
    table = [rows(("history", "", "first difference"), lines)] if lines else []
    told = f"same {counts['same']} · differ {counts['differs']} · not checked {counts['unchecked']}"
    return Group(*table, Text(said), Text(told))
