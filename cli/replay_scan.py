"""``parley replay scan``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from replay.exact import HistoryExact
    from replay.scan import Scan

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
        Exported histories, or folders of them; else what the server finds with --query, --since and --until.
    """
    from cli.console import output, print_json
    from cli.progress import share_bar
    from cli.replay_verify import code_of
    from dialogue.faults import InvalidRequest
    from records.connection import connect
    from records.protected import protection_of
    from replay.histories import history_files
    from replay.scan import junit as junit_of
    from replay.scan import of_files, of_query
    from replay.scan import scan as scan_all
    from replay.site import site_converter
    from settings.load import load

    settings = load()
    asked = _query(query, since, until)
    if bool(files) == bool(asked):
        raise InvalidRequest("files: give files or folders, or one of --query, --since and --until.")
    client = None if files else await connect(settings.temporal, protection=protection_of(settings))
    found = of_files(history_files(files)) if client is None else await of_query(client, asked)
    with share_bar() as tell:
        done = 0

        def told(result: HistoryExact) -> None:
            nonlocal done
            done += 1
            tell(f"{done} of {len(found)} · {result.source}", done / len(found))

        result = await scan_all(
            found,
            site_converter(settings),
            client=client,
            namespace=settings.temporal.namespace,
            jobs=jobs or max(1, len(os.sched_getaffinity(0)) // 2),
            arguments=arguments,
            state=state,
            told=told,
        )
    if junit is not None:
        junit.write_text(junit_of(result), "utf-8")
    if json:
        print_json({"counts": result.counts, "events": result.events, "results": result.results})
    else:
        output().print(_view(result))
    return code_of([each.state for each in result.results])


def _query(query: str | None, since: str | None, until: str | None) -> str:
    """All in one, of our own workflow types alone."""
    from cli.replay_find import moment
    from workflows.names import CONVERSATION_WORKFLOW, DIALOGUE_WORKFLOW

    given = [f"({query})"] if query else []
    given += [f"StartTime >= '{moment(since, 'since').isoformat()}'"] if since else []
    given += [f"StartTime < '{moment(until, 'until').isoformat()}'"] if until else []
    return (
        " AND ".join([*given, f"WorkflowType IN ('{CONVERSATION_WORKFLOW}', '{DIALOGUE_WORKFLOW}')"]) if given else ""
    )


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
