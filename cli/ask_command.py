"""``parley ask "…"``: one question, one answer, as a business service asks it."""

from __future__ import annotations

from cli.options import Json, Tenant, User

__all__ = ["ask"]


async def ask(question: str, /, *, tenant: Tenant = "default", user: User = "anonymous", json: Json = False) -> None:
    """Ask one question.

    Parameters
    ----------
    question
        What is asked.
    """
    from cli.connected import caller_token, conversations, known_tenant
    from cli.console import output, print_json
    from cli.tables import reply_view
    from dialogue.messages import DialogueStart
    from gateway.conversations import Pending
    from settings.load import load

    settings = load()
    caller = caller_token(settings, known_tenant(settings, tenant), user)
    start = DialogueStart(question=question, tenant=tenant, user=user, caller=caller)
    connected = await conversations(settings)
    reply = await connected.ask(start)
    if isinstance(reply, Pending):  # not reached: no bound was given
        return
    trace = connected.trace_url(reply.workflow_id)
    if json:
        print_json({**reply.model_dump(mode="json"), "trace_url": trace})
    else:
        output().print(reply_view(reply, trace=trace))
