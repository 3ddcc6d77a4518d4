"""``parley replay why``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import Files, Run, TurnNumber

if TYPE_CHECKING:
    from replay.why import Part, Share, Why

__all__ = ["why"]

_SHOWN = 70


async def why(
    conversation: str | None = None,
    /,
    *,
    turn: TurnNumber = None,
    run: Run = None,
    file: Files = (),
    verdict: Annotated[str | None, Parameter(help="The fault is this verdict.")] = None,
    word: Annotated[str | None, Parameter(help="The fault is that this stands in the answer.")] = None,
    claim: Annotated[str | None, Parameter(help="The fault is that the answer says what this sentence says.")] = None,
    samples: Annotated[int, Parameter(help="Reruns of each change; with several their seeds differ.")] = 1,
    json: Json = False,
) -> int:
    """Find what of a turn made its fault.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's; not needed with --file.
    """
    from cli.console import print_json
    from cli.progress import share_bar
    from cli.replay_source import UNCHECKED, recorded_turn
    from dialogue.faults import InvalidRequest
    from replay.evidence import evidence
    from replay.replayer import quiet_logs
    from replay.rerun import bench
    from replay.why import Fault
    from replay.why import why as find_why
    from settings.load import load

    if sum(bool(each) for each in (verdict, word, claim)) != 1:
        raise InvalidRequest("fault: say what was wrong: one of --verdict, --word and --claim.")
    if samples < 1:
        raise InvalidRequest("samples: at least 1.", field="samples")
    fault = Fault(verdict=verdict or None, word=word or None, claim=claim or None)
    settings = load()
    quiet_logs()
    recorded, code = await recorded_turn(settings, conversation, run, file, turn)
    async with evidence(settings) as held, bench(held) as reruns:
        with share_bar() as tell_share:
            found = await find_why(reruns, recorded, fault, samples=samples, told=lambda text: tell_share(text, 0.0))
    if json:
        print_json({**found.model_dump(mode="json"), "sure": found.sure})
    else:
        _say(found)
    return code if found.least is not None else UNCHECKED


def _say(found: Why) -> None:
    from cli.console import print_line

    print_line(f"turn {found.turn}, {found.fault}: {_share(found.recorded)} as recorded")
    if not found.shown:
        print_line("No rerun shows it with nothing taken away, so no part of it can be found: see diff --rerun.")
        return
    if found.least is None:
        print_line(f"It stays without any of its {len(found.parts)} parts: look at question, model and policy.")
        return
    if found.without is not None:
        print_line(f"{_share(found.without)} without:")
    for part in found.least:
        print_line(f"  {_part(part)}")
    apart = "sure at 95%: the two lie apart" if found.chance else "sure: nothing was left to chance"
    overlap = "not sure at 95%: the two overlap; more --samples tell more"
    sure = apart if found.sure else overlap if found.chance else "not sure: it came out otherwise the second time"
    print_line(
        f"{found.tried} of {2 ** len(found.parts)} ways of taking {len(found.parts)} parts away were run · {sure}"
    )


def _share(share: Share) -> str:
    return f"in {share.hits} of {share.samples} samples ({share.low:.0%} to {share.high:.0%})"


def _part(part: Part) -> str:
    from cli.console import plain

    head = f"message {int(part.name) + 1}" if part.kind == "message" else part.name
    head = f"passage {head}" if part.kind == "passage" else head
    text = plain(" ".join(part.text.split()))
    return f"{head}  {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}"
