"""``parley replay to-test``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import Files, Run, TurnNumber

__all__ = ["to_test"]


async def to_test(
    conversation: str | None = None,
    /,
    *,
    turn: TurnNumber = None,
    run: Run = None,
    file: Files = (),
    out: Annotated[Path, Parameter(help="The folder for test and fixture.")] = Path("tests/incidents"),
    expect: Annotated[str | None, Parameter(help="The review's verdict that is right; else the recorded one.")] = None,
    json: Json = False,
) -> int:
    """Write a pytest test and its fixture from a turn: the history replays, and the policy of temporal.yaml judges the
    recorded draft.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's; not needed with --file.
    """
    from cli.console import print_json, print_line
    from cli.replay_source import chain_of, tell_problems
    from replay.to_test import write_test
    from settings.load import load

    chain = await chain_of(load(), conversation, run, file)
    code = tell_problems(chain)
    test, fixture = write_test(chain, turn, out, expect=expect)
    if json:
        print_json({"test": str(test), "fixture": str(fixture)})
    else:
        print_line(f"{test}\n{fixture} holds the conversation's texts in clear")
    return code
