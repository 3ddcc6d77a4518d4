"""``parley replay verify``."""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import BundleFile, Files, Run, SignerKey, TurnNumber

if TYPE_CHECKING:
    from replay.bundle import Bundle
    from replay.exact import HistoryExact, State
    from replay.samples import Statistical
    from replay.tokens import TokenExact
    from replay.turns import Turn
    from settings.schema import Settings

__all__ = ["code_of", "history_line", "verify"]


async def verify(
    conversation: str | None = None,
    /,
    *,
    turn: TurnNumber = None,
    run: Run = None,
    file: Files = (),
    bundle: BundleFile = None,
    key: SignerKey = None,
    tokens: Annotated[bool, Parameter(negative="", help="Also token-exact: generate again, compare ids.")] = False,
    samples: Annotated[int, Parameter(help="Also statistical: so many samples of each turn.")] = 0,
    code: Annotated[
        Path | None, Parameter(help="history-exact with the workflow code of this checkout, in place of today's.")
    ] = None,
    json: Json = False,
) -> int:
    """Prove a recording, tier by tier.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's; not needed with --file and --bundle.
    """
    from cli.console import print_json, print_line
    from cli.progress import share_bar
    from cli.replay_source import bundle_of, chain_of, tell_faults
    from dialogue.faults import InvalidRequest
    from replay.exact import history_exact
    from replay.replayer import quiet_logs
    from replay.story import tell, turn_of
    from settings.load import load

    quiet_logs()
    if bundle is None:
        chain = await chain_of(load(), conversation, run, file)
    else:
        if tokens or samples:
            raise InvalidRequest("bundle: --tokens and --samples need the site's model; a bundle has none.")
        opened = bundle_of(bundle, key, conversation, file)
        if not json:
            _say(_bundle_line(opened))
        chain = await opened.chain(run)
    exact: list[HistoryExact] = []
    for number, each in enumerate(chain.runs, 1):
        name = f"{chain.workflow_id}/run {number}"
        with share_bar() as tell_share:
            of_it = f"{name} of {len(chain.runs)} · {len(each.events)} events"
            exact.append(await history_exact(each, code=code, told=functools.partial(tell_share, of_it)))
        if not json:
            _say(history_line(exact[-1], name))
    generated: list[TokenExact] = []
    sampled: list[Statistical] = []
    if tokens or samples:
        story = tell(chain)
        turns = story.turns if turn is None else (turn_of(story, turn),)
        async with AsyncExitStack() as stack:
            generated, sampled = await _again(load(), stack, turns, tokens=tokens, samples=samples, quiet=json)
    states: list[State] = [each.state for each in (*exact, *generated, *sampled)]
    tell_faults(chain.missing)
    states.extend("unchecked" for _ in chain.missing)
    ended = code_of(states)
    if json:
        told: dict[str, Any] = {"history_exact": exact, "token_exact": generated, "statistical": sampled}
        told["missing"] = [fault.message for fault in chain.missing]
        print_json({"conversation": chain.workflow_id, **told, "exit_code": ended})
    else:
        print_line(_sum(states, ended))
    return ended


async def _again(
    settings: Settings, stack: AsyncExitStack, turns: tuple[Turn, ...], *, tokens: bool, samples: int, quiet: bool
) -> tuple[list[TokenExact], list[Statistical]]:
    from cli.console import print_line
    from replay.evidence import evidence
    from replay.rerun import bench
    from replay.samples import sampled
    from replay.token_runs import verify_tokens

    held = await stack.enter_async_context(evidence(settings))
    generated: list[TokenExact] = []
    statistical: list[Statistical] = []
    if tokens:

        def beforehand(turn: int, number: int, why: tuple[str, ...]) -> None:
            if why:
                said = "; ".join(why)
                print_line(f"token-exact    turn {turn} try {number}: cannot be promised: {said}", error=quiet)

        generated = await verify_tokens(held, turns, beforehand)
        for each in () if quiet else generated:
            _say(_token_lines(each))
    if samples:
        reruns = await stack.enter_async_context(bench(held))
        asked = [turn for turn in turns if turn.asked is not None]  # of the others nothing is left to chance
        for turn in asked or turns:
            statistical.append(await sampled(reruns, turn, samples))
            if not quiet:
                _say(_statistical_line(statistical[-1]))
    return generated, statistical


def _bundle_line(bundle: Bundle) -> str:
    told = bundle.manifest
    redacted = "  redacted" if told.redacted else ""
    return f"bundle         {bundle.path.name}  {len(told.files)} files as signed with {told.key}{redacted}  ✓"


def _say(text: str) -> None:
    """As wide as the screen is."""
    from rich.text import Text

    from cli.console import output, plain

    output().print(Text(plain(text), overflow="fold"))


_MARKS = {"same": "✓", "differs": "✗", "unchecked": "?"}


def history_line(each: HistoryExact, name: str) -> str:
    """One line; where it differs, the first divergence below it."""
    from cli.console import counted

    turns = counted(each.turns, "turn")
    said = {"same": "same commands", "differs": "other commands", "unchecked": "could not be checked"}[each.state]
    if each.state == "differs" and each.same_commands:
        said = "same commands, other arguments"
    line = f"history-exact  {name}  {turns}  {each.events} events  {said}  {_MARKS[each.state]}"
    if each.divergence is not None:
        line += f"\n               {each.divergence.line()}"
    elif each.state != "same":
        line += f"\n               {each.why}"
    if each.newer:
        line += f"\n               one version alone has: {', '.join(each.newer)}"
    return line


def _token_lines(each: TokenExact) -> str:
    name = f"token-exact    turn {each.turn} try {each.try_number}"
    name += f" candidate {each.candidate}" if each.candidate else ""
    resumed = f", after the resume at {each.resumed_at}" if each.resumed_at else ""
    if each.state == "same":
        return f"{name}  {each.same} of {each.tokens} tokens the same{resumed}  ✓"
    if each.state == "unchecked":
        return f"{name}  could not be checked: {each.why}  ?"
    lines = [f"{name}  differs at token {each.same} of {each.tokens}{resumed}  ✗"]
    lines += [f"               recorded  … {_flat(each.recorded)}", f"               today     … {_flat(each.today)}"]
    likely = "; ".join(each.unpromised) or "none: engine, weights, prompt and hardware are the recorded ones"
    return "\n".join([*lines, f"               likely cause: {likely}"])


def _flat(text: str) -> str:
    return text.replace("\n", "⏎")


def _statistical_line(each: Statistical) -> str:
    name = f"statistical    turn {each.turn}"
    if each.state == "unchecked":
        return f"{name}  could not be checked: {each.why}  ?"
    others = ", ".join(f"{verdict} {count}" for verdict, count in each.verdicts.items())
    share = f"{each.hits} of {each.samples} samples give the recorded verdict ({each.recorded})"
    failed = f" · {each.failed} reruns failed and are no samples: {each.why}" if each.failed else ""
    return f"{name}  {share}; 95% between {each.low:.0%} and {each.high:.0%} · {others}{failed}  {_MARKS[each.state]}"


def code_of(states: list[Any]) -> int:
    """3 where something differs, else 4 where something could not be checked, else 0."""
    from cli.replay_source import DIFFERS, UNCHECKED

    return DIFFERS if "differs" in states else UNCHECKED if "unchecked" in states else 0


def _sum(states: list[Any], code: int) -> str:
    differ, unchecked = states.count("differs"), states.count("unchecked")
    from cli.console import counted

    said = [counted(differ, "difference")]
    if unchecked:
        said.append(f"{unchecked} could not be checked")
    return f"{', '.join(said)}. exit {code}"
