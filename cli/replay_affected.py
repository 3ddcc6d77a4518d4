"""``parley replay affected``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from replay.affected import Affected, ChainOf, Suspect
    from replay.chain import Chain
    from replay.evidence import Evidence
    from replay.turns import Turn
    from settings.schema import Settings

__all__ = ["affected"]


async def affected(
    *,
    document: Annotated[str | None, Parameter(help="Answers that cite this document.")] = None,
    shown: Annotated[
        bool, Parameter(negative="", help="With --document: also those whose model was shown it; reads the histories.")
    ] = False,
    model: Annotated[str | None, Parameter(help="Answered by this model: a name, or a digest's beginning.")] = None,
    rule: Annotated[
        str | None, Parameter(help="With a finding of this rule, or with this label; reads the histories.")
    ] = None,
    since: Annotated[str | None, Parameter(help="At or after this time, ISO 8601; without a zone it is UTC.")] = None,
    until: Annotated[str | None, Parameter(help="Before this time.")] = None,
    ask_again: Annotated[
        bool, Parameter(negative="", help="Run each again with today's model, knowledge, policy and settings.")
    ] = False,
    json: Json = False,
) -> int:
    """List the answers that a faulty document, model or rule touched, by the people concerned."""
    from cli.console import print_json
    from cli.replay_find import moment
    from cli.replay_source import DIFFERS, UNCHECKED, tell_faults
    from dialogue.faults import InvalidRequest, RecordsConflict
    from replay.affected import Suspect
    from replay.affected import affected as find_affected
    from replay.evidence import evidence
    from replay.replayer import quiet_logs
    from settings.load import load

    if sum(each is not None for each in (document, model, rule)) != 1 or (shown and document is None):
        raise InvalidRequest("suspect: give one of --document, --model and --rule; --shown goes with --document.")
    times = [moment(each, name).timestamp() if each else None for each, name in ((since, "since"), (until, "until"))]
    suspect = Suspect(document=document, model=model, rule=rule, shown=shown)
    settings, unshown = load(), list[RecordsConflict]()
    quiet_logs()
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(evidence(settings))
        chain_of = await _histories(settings, held, suspect, ask_again)
        look = find_affected(held, suspect, chain_of, since=times[0], until=times[1], unshown=unshown.append)
        found = [each async for each in look]
        if ask_again:
            told = await _asked_again(stack, held, found, chain_of)
        else:
            told = [each for each, _ in found]
    if json:
        print_json(told)
    else:
        _report(told, asked=ask_again)
    code = tell_faults(unshown)
    if any(each.same is False for each in told):
        return DIFFERS
    return UNCHECKED if any(each.problem for each in told) else code


async def _histories(settings: Settings, held: Evidence, suspect: Suspect, ask_again: bool) -> ChainOf:
    """The server is asked only where the audit is not enough."""
    from dialogue.faults import InvalidRequest
    from records.archive import RunArchive
    from records.connection import connect
    from records.protected import protection_of
    from replay.histories import live

    if not (suspect.in_histories or ask_again):

        async def none(conversation: str) -> Chain:
            raise InvalidRequest(f"conversation: {conversation} was not asked for.")

        return none
    client = await connect(settings.temporal, protection=protection_of(settings))
    archive = RunArchive(held.database, held.contents)

    async def chain(conversation: str) -> Chain:
        return await live(client, conversation, archive=archive)

    return chain


async def _asked_again(
    stack: AsyncExitStack, held: Evidence, found: list[tuple[Affected, Turn | None]], chain_of: ChainOf
) -> list[Affected]:
    from cli.progress import share_bar
    from dialogue.faults import ParleyFault
    from replay.affected import ask_again, todays
    from replay.rerun import bench
    from replay.story import tell, turn_of

    reruns = await stack.enter_async_context(bench(held))
    tell_share = stack.enter_context(share_bar())
    told: list[Affected] = []
    for number, (each, turn) in enumerate(found):
        tell_share(f"{number} of {len(found)} asked again", number / len(found))
        if each.problem:
            told.append(each)
            continue
        try:
            turn = turn or turn_of(tell(await chain_of(each.conversation)), each.turn)
            changes = todays(held.settings, reruns.parts.knowledge(), turn, list(reruns.parts.models()))
        except ParleyFault as fault:
            told.append(each.model_copy(update={"problem": fault.message}))
            continue
        told.append(await ask_again(reruns, each, turn, changes))
    return told


def _report(found: list[Affected], *, asked: bool) -> None:
    """By tenant and user, as whoever writes to them needs it."""
    from cli.console import counted, print_line

    people = dict.fromkeys((each.tenant, each.user) for each in found)
    for tenant, user in people:
        theirs = [each for each in found if (each.tenant, each.user) == (tenant, user)]
        print_line(f"{user} of {tenant}: {counted(len(theirs), 'answer')}")
        for each in theirs:
            _one(each)
    differ, problems = sum(each.same is False for each in found), sum(bool(each.problem) for each in found)
    said = f"{counted(len(found), 'answer')} to {len(people)} {'person' if len(people) == 1 else 'people'}"
    said += f" · {differ} come out otherwise today" if asked else ""
    print_line(f"{said} · {problems} could not be checked" if problems else said)


def _one(each: Affected) -> None:
    from rich.padding import Padding

    from cli.console import output, print_line
    from cli.tables import rows
    from workflows.wording import replay_command

    at = "?" if each.at is None else datetime.fromtimestamp(each.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    print_line(f"  {at}  {each.verdict}  {replay_command(each.conversation, each.turn)}")
    lines = [("how", "; ".join(each.how)), ("question", each.question), ("answer", each.answer)]
    if each.same is False:
        lines.append(("today", f"{each.verdict_today}: {each.today}"))
    elif each.same:
        lines.append(("today", "the same"))
    lines.append(("problem", each.problem))
    told = [(name, " ".join(text.split())) for name, text in lines if text]
    output().print(Padding(rows(("", ""), told), (0, 0, 0, 4)))
