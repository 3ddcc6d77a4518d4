"""``parley replay diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import Json

if TYPE_CHECKING:
    from replay.turns import Turn
    from settings.schema import Settings

__all__ = ["diff", "named_turn"]


async def diff(a: str, b: str, /, *, json: Json = False) -> int:
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
    from replay.diff import compare
    from settings.load import load

    settings = load()
    first, second = await named_turn(settings, a), await named_turn(settings, b)
    found = compare(first, second)
    if json:
        print_json({"a": a, "b": b, "same": found.same, **found.model_dump(mode="json")})
    else:
        output().print(diff_view(found, a, b))
    return 0 if found.same else DIFFERS


async def named_turn(settings: Settings, named: str) -> Turn:
    """``conv-01J…:2``, ``normal.json:1``; without a number the last turn. Raises InvalidRequest and NoSuchTurn."""
    from cli.replay_source import chain_of
    from replay.story import tell, turn_of

    where, _, number = named.rpartition(":")
    if not where or not number.isdecimal():
        where, number = named, ""
    path = Path(where)
    files = (path,) if path.suffix == ".json" else ()
    chain = await chain_of(settings, None if files else where, None, files)
    return turn_of(tell(chain), int(number) if number else None)
