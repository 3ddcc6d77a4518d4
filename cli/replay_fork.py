"""``parley replay fork``."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from replay.fork import Fork

__all__ = ["fork"]


async def fork(
    conversation: str,
    /,
    *,
    turn: Annotated[int, Parameter(help="The first turn that is left behind.")],
    by: Annotated[str, Parameter(help="Who does it, for the records.")],
    why: Annotated[str, Parameter(help="Why, for the records.")],
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    json: Json = False,
) -> int:
    """Set a conversation back to before a turn, by Temporal's reset.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's.
    """
    from cli.console import print_json, print_line
    from cli.ending import FAILED
    from dialogue.faults import InvalidRequest
    from records.connection import connect
    from records.protected import protection_of
    from replay.fork import fork as do_fork
    from replay.fork import plan_fork
    from replay.histories import live
    from settings.load import load

    if not why.strip():
        raise InvalidRequest("why: say why, for the records.", field="why")
    settings = load()
    client = await connect(settings.temporal, protection=protection_of(settings))
    plan: Fork | None = None
    while (now := plan_fork(await live(client, conversation), turn)) != plan:  # people speak while somebody thinks
        plan = now
        left = ", ".join(str(number) for number in plan.left)
        print_line(f"{conversation} goes back to before turn {turn}: its turns {left} are left behind.", error=json)
        if not yes and not await _agreed():
            print_line("Nothing was done.", error=True)
            return FAILED
    run_id, next_turn = await do_fork(client, now, by=by, why=why)
    if json:
        print_json({"conversation": conversation, "run_id": run_id, "left": now.left, "next_turn": next_turn})
    else:
        print_line(f"run {run_id} goes on from there; its next turn is {next_turn}")
    return 0


async def _agreed() -> bool:
    """Raises InvalidRequest where nobody is there to be asked."""
    from cli.console import print_line
    from dialogue.faults import InvalidRequest

    if not sys.stdin.isatty():
        raise InvalidRequest("yes: nobody is here to be asked. Say --yes.", field="yes")
    print_line("Do it? [y/N]", error=True)  # standard output may be read as JSON
    return (await asyncio.to_thread(sys.stdin.readline)).strip().lower() in ("y", "yes")
