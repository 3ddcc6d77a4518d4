"""``parley replay show``."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from cli.options import Json
from cli.replay_source import BundleFile, Files, Run, SignerKey, TurnNumber

if TYPE_CHECKING:
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
    from cli.replay_source import bundle_of, chain_of, tell_problems
    from cli.replay_views import story_view, turn_view
    from replay.story import tell, turn_of
    from settings.load import load

    opened = bundle_of(bundle, key) if bundle else None
    chain = await opened.chain() if opened else await chain_of(load(), conversation, run, file)
    code = tell_problems(chain)
    story = tell(chain)
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
    if events:
        asked["events"] = event_lines(chain, chosen)
    if passages:
        asked["passages"] = chosen.passages
    if reasoning:
        asked["reasoning"] = chosen.reasoning
    if prompt or audit:
        kept = _bundled(opened, chosen, prompt, audit) if opened else await _kept(load(), chosen, prompt, audit)
        asked |= kept
    if json:
        print_json({"conversation": story.conversation, "turns": len(story.turns), "turn": chosen, **asked})
    else:
        output().print(turn_view(chosen, of=len(story.turns), asked=asked))
    return code


def _bundled(bundle: Bundle, turn: Turn, prompt: bool, audit: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"prompt": bundle.prompt_of(turn)} if prompt else {}
    return found | ({"audit": bundle.audit_of(turn)} if audit else {})


async def _kept(settings: Settings, turn: Turn, prompt: bool, audit: bool) -> dict[str, Any]:
    from replay.evidence import evidence
    from replay.shown import audit_of, prompt_of

    found: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(evidence(settings))
        if prompt:
            found["prompt"] = await prompt_of(held, turn)
        if audit:
            found["audit"] = await audit_of(held, turn)
    return found
