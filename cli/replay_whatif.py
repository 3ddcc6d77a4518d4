"""``parley replay whatif``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import Files, Run, TurnNumber

__all__ = ["whatif"]


async def whatif(
    conversation: str | None = None,
    /,
    *,
    turn: TurnNumber = None,
    run: Run = None,
    file: Files = (),
    model: Annotated[str | None, Parameter(help="Another model: an alias or a name of temporal.yaml.")] = None,
    snapshot: Annotated[str | None, Parameter(help="Another knowledge snapshot, by its id.")] = None,
    policy: Annotated[str | None, Parameter(help="Another policy: a name of temporal.yaml, or a YAML file.")] = None,
    set_: Annotated[
        tuple[str, ...], Parameter(name="--set", negative="", help="NAME=VALUE, such as generation.temperature=0.9.")
    ] = (),
    json: Json = False,
) -> int:
    """Run a turn again with something changed, and compare.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's; not needed with --file.
    """
    from cli.console import output, print_json, print_line
    from cli.replay_diff_view import diff_view
    from cli.replay_source import DIFFERS, recorded_turn
    from dialogue.faults import InvalidRequest
    from replay.changes import Changes, given_settings
    from replay.diff import compare
    from replay.evidence import evidence
    from replay.replayer import quiet_logs
    from replay.rerun import bench
    from settings.load import load

    changes = Changes(model=model, snapshot=snapshot, policy=policy, settings=given_settings(set_))
    if changes == Changes():
        raise InvalidRequest("change: give at least one of --model, --snapshot, --policy and --set NAME=VALUE.")
    settings = load()
    quiet_logs()
    recorded, code = await recorded_turn(settings, conversation, run, file, turn)
    async with evidence(settings) as held, bench(held) as reruns:
        again = await reruns.run(recorded, changes)
    found = compare(recorded, again.turn)
    if json:
        print_json({"recorded": recorded, "rerun": again, "same": found.same, "diff": found})
    else:
        for failure in again.failures:
            print_line(failure, error=True)
        print_line(f"run again: {', '.join(again.again) or 'nothing: no step depends on it'}")
        if waits := again.left_waiting(recorded):
            print_line(waits)
        output().print(diff_view(found, f"turn {recorded.turn} as recorded", f"with {changes.line()}"))
    return max(code, 0 if found.same else DIFFERS)
