"""``parley replay find``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from records.audit_rows import KeptRow

__all__ = ["find", "moment"]


async def find(
    *,
    tenant: Annotated[str | None, Parameter(help="Of this tenant alone.")] = None,
    user: Annotated[str | None, Parameter(help="What this user said.")] = None,
    since: Annotated[str | None, Parameter(help="At or after this time, ISO 8601; without a zone it is UTC.")] = None,
    until: Annotated[str | None, Parameter(help="Before this time.")] = None,
    verdict: Annotated[
        tuple[str, ...], Parameter(negative="", help="With this verdict; several times for several.")
    ] = (),
    intent: Annotated[str | None, Parameter(help="With this intent.")] = None,
    model: Annotated[
        str | None, Parameter(help="Answered by this model: a name, or the beginning of a digest.")
    ] = None,
    snapshot: Annotated[str | None, Parameter(help="On this snapshot: the beginning of its id.")] = None,
    document: Annotated[str | None, Parameter(help="Whose answer cites this document.")] = None,
    text: Annotated[
        str | None, Parameter(help='With all these words in question or answer; a "phrase" as it stands.')
    ] = None,
    limit: Annotated[int, Parameter(help="At most so many, the newest.")] = 50,
    json: Json = False,
) -> int:
    """Find turns in the audit: from a complaint to the turn, with a link for each."""
    from cli.console import print_json, print_line
    from cli.replay_source import tell_faults
    from dialogue.faults import RecordsConflict
    from records.audit_search import AuditQuery, find_rows
    from replay.evidence import evidence
    from settings.load import load

    settings = load()
    query = AuditQuery(
        tenant=tenant,
        user=user,
        since=moment(since, "since").timestamp() if since else None,
        until=moment(until, "until").timestamp() if until else None,
        verdict=verdict,
        intent=intent,
        model=model,
        snapshot=snapshot,
        document=document,
        text=text,
    )
    unshown: list[RecordsConflict] = []
    async with evidence(settings) as held:
        found = await find_rows(
            held.database, query, keys=held.keys, words=held.words, limit=limit, unshown=unshown.append
        )
    web = f"{settings.temporal.web_ui}/namespaces/{settings.temporal.namespace}/workflows"
    if json:
        print_json([{**row.model_dump(mode="json"), "trace_url": f"{web}/{row.conversation}"} for row in found])
    else:
        for row in found:
            _one(row, web)
        if not found:
            print_line("Nothing in the audit matches.")
    return tell_faults(unshown)


def _one(row: KeptRow, web: str) -> None:
    from cli.console import output, print_line
    from cli.tables import rows
    from workflows.wording import replay_command

    at = datetime.fromtimestamp(row.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    at = "?" if "timestamp" in row.damaged else at
    head = [(at, row.verdict, row.user_id, replay_command(row.conversation, row.turn))]
    output().print(rows(("", "", "", ""), head))
    print_line(f"  {' '.join(row.input_text.split())[:90]}\n  {web}/{row.conversation}")
    if row.damaged:
        print_line(f"  {row.damage}")


def moment(text: str, option: str) -> datetime:
    """Raises InvalidRequest for what is no time."""
    from dialogue.faults import InvalidRequest

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"{option}: {text!r} is no time. Write 2026-11-23 or 2026-11-23T10:14:07Z.", field=option
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
