"""``parley cancel CONVERSATION``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from cli.options import Tenant

__all__ = ["cancel"]


async def cancel(
    conversation: str,
    /,
    *,
    turn: Annotated[int | None, Parameter(help="That turn, if it still runs or waits; else the one that runs.")] = None,
    reason: Annotated[str, Parameter(help="Why, for the records.")] = "",
    tenant: Tenant = "default",
) -> None:
    """Cancel the turn that is being answered."""
    from cli.connected import conversations, known_tenant
    from cli.console import print_line
    from dialogue.messages import CancelTurn
    from settings.load import load

    settings = load()
    message = CancelTurn(tenant=known_tenant(settings, tenant), turn=turn, reason=reason)
    connected = await conversations(settings)
    number = await connected.cancel_turn(conversation, message)
    print_line(f"turn {number} of {conversation} is cancelled.")
