"""``parley replay show``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import BundleFile, Files, Run, SignerKey, TurnNumber

if TYPE_CHECKING:
    from dialogue.faults import ParleyFault
    from replay.bundle import Bundle
    from replay.turns import Turn
    from settings.schema import Settings

__all__ = ["show"]


def _part(what: str) -> Any:
    return Annotated[bool, Parameter(negative="", help=f"Also {what}.")]


async def show(
    conversation: str | None = None,
    /,
    *,
    turn: TurnNumber = None,
    run: Run = None,
    file: Files = (),
    bundle: BundleFile = None,
    key: SignerKey = None,
    prompt: _part("the exact prompt of the last try") = False,  # pyright: ignore[reportInvalidTypeForm]
    reasoning: _part("the reasoning behind the answer") = False,  # pyright: ignore[reportInvalidTypeForm]
    steps: _part("what went into each step and came out of it, whole") = False,  # pyright: ignore[reportInvalidTypeForm]
    passages: _part("the passages that were found, whole") = False,  # pyright: ignore[reportInvalidTypeForm]
    events: _part("the turn's events in the history") = False,  # pyright: ignore[reportInvalidTypeForm]
    audit: _part("the turn's row in the audit, held against the history") = False,  # pyright: ignore[reportInvalidTypeForm]
    json: Json = False,
) -> int:
    """Show a conversation, or one turn with all that is recorded.

    Parameters
    ----------
    conversation
        Its id, which is its workflow's; not needed with --file and --bundle.
    """
    from cli.console import output, print_json
    from cli.replay_source import bundle_of, chain_of, tell_faults, tell_problems
    from cli.replay_views import story_view, turn_view
    from replay.story import tell, turn_of
    from settings.load import load

    opened = bundle_of(bundle, key, conversation, file) if bundle else None
    chain = await opened.chain(run) if opened else await chain_of(load(), conversation, run, file)
    story = tell(chain)
    code = tell_problems(chain, story)
    one = len(story.turns) == 1 or turn is not None
    if not one:
        if json:
            print_json(story)
        else:
            output().print(story_view(story))
        return code
    chosen = turn_of(story, turn)
    from replay.shown import event_lines

    asked: dict[str, Any] = {}
    if steps and not json:  # in JSON the turn has them anyway
        asked["steps"] = chosen.steps
    if events:
        asked["events"] = event_lines(chain, chosen)
    if passages:
        asked["passages"] = chosen.passages
    if reasoning:
        asked["reasoning"] = chosen.reasoning
    if prompt or audit:
        parts = [name for name, given in (("prompt", prompt), ("audit", audit)) if given]
        kept, problems = _bundled(opened, chosen, parts) if opened else await _kept(load(), chosen, parts)
        asked |= kept
        code = tell_faults(problems) or code
    if json:
        print_json({"conversation": story.conversation, "turns": len(story.turns), "turn": chosen, **asked})
    else:
        output().print(turn_view(chosen, of=len(story.turns), asked=asked))
    return code


def _bundled(bundle: Bundle, turn: Turn, parts: list[str]) -> tuple[dict[str, Any], list[ParleyFault]]:
    """What the bundle holds of it, and why it does not hold the rest."""
    from dialogue.faults import ContentMissing

    open_part = {"prompt": bundle.prompt_of, "audit": bundle.audit_of}
    found: dict[str, Any] = {}
    problems: list[ParleyFault] = []
    for name in parts:
        try:
            found[name] = open_part[name](turn)
        except ContentMissing as fault:
            problems.append(fault)
    return found, problems


async def _kept(settings: Settings, turn: Turn, parts: list[str]) -> tuple[dict[str, Any], list[ParleyFault]]:
    """What the site has of it, and why it has not the rest."""
    from dialogue.faults import ModelFault, RecordsFault
    from replay.evidence import evidence
    from replay.shown import audit_of, prompt_of

    open_part = {"prompt": prompt_of, "audit": audit_of}
    found: dict[str, Any] = {}
    problems: list[ParleyFault] = []
    async with AsyncExitStack() as stack:
        try:
            held = await stack.enter_async_context(evidence(settings))
        except RecordsFault as fault:
            return {}, [fault]
        for name in parts:
            try:
                found[name] = await open_part[name](held, turn)
            except (ModelFault, RecordsFault) as fault:
                problems.append(fault)
    return found, problems
