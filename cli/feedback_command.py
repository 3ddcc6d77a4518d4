"""``parley feedback CONVERSATION TURN --score N``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import Tenant

__all__ = ["feedback"]


async def feedback(
    conversation: str,
    turn: int,
    /,
    *,
    score: Annotated[int, Parameter(help="1 good, 0 neither, -1 bad.", allow_leading_hyphen=True)],
    comment: Annotated[str, Parameter(help="A line of your own.")] = "",
    tenant: Tenant = "default",
) -> None:
    """Say what you thought of an answer."""
    from cli.connected import conversations, known_tenant
    from cli.console import print_line
    from dialogue.faults import InvalidRequest
    from dialogue.messages import Feedback
    from settings.load import load
    from workflows.names import FEEDBACK

    settings = load()
    message = Feedback(turn=turn, score=score, tenant=known_tenant(settings, tenant), comment=comment)
    connected = await conversations(settings)
    # a signal has no answer: whether there is such a conversation and turn is asked before
    found = await connected.transcript(conversation, tenant)
    if not 1 <= turn <= found.older + len(found.turns):
        raise InvalidRequest(f"turn: {conversation} has no turn {turn}; it has {found.older + len(found.turns)}.")
    await connected.client.get_workflow_handle(conversation).signal(FEEDBACK, message)
    print_line(f"Thank you: {score:+d} for turn {turn} of {conversation}.")
