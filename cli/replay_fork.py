"""``parley replay fork``."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

from cyclopts import Parameter

from cli.options import Json

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
    plan = plan_fork(await live(client, conversation), turn)
    left = ", ".join(str(number) for number in plan.left)
    print_line(f"{conversation} goes back to before turn {turn}: its turns {left} are left behind.", error=json)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidRequest("yes: nobody is here to be asked. Say --yes.", field="yes")
        if (await asyncio.to_thread(input, "Do it? [y/N] ")).strip().lower() not in ("y", "yes"):
            print_line("Nothing was done.", error=True)
            return FAILED
    run_id = await do_fork(client, plan, by=by, why=why)
    if json:
        print_json({"conversation": conversation, "run_id": run_id, "left": plan.left, "next_turn": plan.total + 1})
    else:
        print_line(f"run {run_id} goes on from there; its next turn is {plan.total + 1}")
    return 0
