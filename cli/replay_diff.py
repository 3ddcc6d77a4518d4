"""``parley replay diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json

if TYPE_CHECKING:
    from replay.turns import Turn
    from settings.schema import Settings

__all__ = ["diff", "named_turn"]


async def diff(
    a: str,
    b: str | None = None,
    /,
    *,
    rerun: Annotated[
        bool, Parameter(negative="", help="In place of B: A itself, with each of its steps run again.")
    ] = False,
    json: Json = False,
) -> int:
    """Compare two turns step by step.

    Parameters
    ----------
    a
        CONVERSATION:TURN, or FILE:TURN of an exported history.
    b
        The turn to compare it with.
    """
    from cli.console import output, print_json
    from cli.replay_diff_view import diff_view
    from cli.replay_source import DIFFERS
    from dialogue.faults import InvalidRequest
    from replay.diff import compare
    from settings.load import load

    if (b is None) is not rerun:
        raise InvalidRequest("b: give the turn to compare with, or --rerun.", field="b")
    settings = load()
    first, code = await named_turn(settings, a)
    if b is None:
        second = await _run_again(settings, first)
    else:
        second, code_of_b = await named_turn(settings, b)
        code = max(code, code_of_b)
    found, name = compare(first, second), b or "run again"
    if json:
        print_json({"a": a, "b": name, "same": found.same, **found.model_dump(mode="json")})
    else:
        output().print(diff_view(found, a, name))
    return max(code, 0 if found.same else DIFFERS)


async def _run_again(settings: Settings, turn: Turn) -> Turn:
    """What a step could not do is told."""
    from cli.console import print_line
    from replay.changes import Changes
    from replay.evidence import evidence
    from replay.replayer import quiet_logs
    from replay.rerun import bench

    quiet_logs()
    async with evidence(settings) as held, bench(held) as reruns:
        again = await reruns.run(turn, Changes(all_steps=True))
    for each in (*again.failures, again.left_waiting(turn)):
        if each:
            print_line(each, error=True)
    return again.turn


async def named_turn(settings: Settings, named: str) -> tuple[Turn, int]:
    """``conv-01J…:2``, ``normal.json:1``; without a number the last turn. And the exit code for what is wrong with its
    history, which is told: two values that cannot be read are not the same for that. Raises InvalidRequest and
    NoSuchTurn."""
    from cli.replay_source import recorded_turn

    where, _, number = named.rpartition(":")
    if not where or not number.isdecimal():
        where, number = named, ""
    path = Path(where)
    files = (path,) if path.suffix == ".json" else ()
    return await recorded_turn(settings, None if files else where, None, files, int(number) if number else None)
