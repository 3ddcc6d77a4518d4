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
    from dialogue.messages import Feedback
    from gateway.feedback import give_feedback
    from settings.load import load

    settings = load()
    message = Feedback(turn=turn, score=score, tenant=known_tenant(settings, tenant), comment=comment)
    await give_feedback(await conversations(settings), settings, conversation, message)
    print_line(f"Thank you: {score:+d} for turn {turn} of {conversation}.")
