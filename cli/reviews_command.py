"""``parley reviews``: turns that wait for a person's decision."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from cli.options import Json, Tenant

__all__ = ["app"]

app = App(name="reviews", help="Decide on turns that wait for a person.")


@app.command(name="list")
async def list_(
    *,
    tenant: Annotated[str | None, Parameter(help="Of this tenant alone.")] = None,
    json: Json = False,
) -> None:
    """List the turns that wait."""
    from cli.connected import conversations, known_tenant
    from cli.console import output, print_json, print_line
    from cli.tables import rows
    from gateway.reviews import waiting_reviews
    from settings.load import load

    settings = load()
    if tenant is not None:
        known_tenant(settings, tenant)
    waiting = await waiting_reviews(await conversations(settings), tenant)
    if json:
        print_json(waiting)
    elif waiting:
        lines = [(each.conversation, str(each.turn), each.tenant, each.question) for each in waiting]
        output().print(rows(("conversation", "turn", "tenant", "asked"), lines, right=(1,)))
    else:
        print_line("Nothing waits for a person.")


@app.command
async def show(conversation: str, turn: int, /, *, tenant: Tenant = "default", json: Json = False) -> None:
    """Show what was asked, with its files, what would be answered and why a person has to decide."""
    from cli.connected import conversations, known_tenant
    from cli.console import output, print_json
    from cli.review_view import review_view
    from gateway.reviews import waiting_review
    from settings.load import load

    settings = load()
    review = await waiting_review(await conversations(settings), conversation, turn, known_tenant(settings, tenant))
    if json:
        print_json(review)
    else:
        output().print(review_view(review))


@app.command
async def resolve(
    conversation: str,
    turn: int,
    /,
    *,
    by: Annotated[str, Parameter(help="Who decides, for the records.")],
    approve: Annotated[bool, Parameter(negative="", help="Send the draft.")] = False,
    edit: Annotated[str | None, Parameter(help="Send this text in its place.")] = None,
    reject: Annotated[bool, Parameter(negative="", help="Send the tenant's fallback text.")] = False,
    note: Annotated[str, Parameter(help="Why, for the records.")] = "",
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """Decide on a turn that waits. Give one of --approve, --edit and --reject."""
    from cli.connected import conversations, known_tenant
    from cli.console import output, print_json
    from cli.tables import reply_view
    from dialogue.faults import InvalidRequest
    from dialogue.messages import ResolveReview
    from gateway.reviews import decide
    from settings.load import load

    chosen = [name for name, given in (("approve", approve), ("edit", edit is not None), ("reject", reject)) if given]
    if len(chosen) != 1:
        raise InvalidRequest("decision: give exactly one of --approve, --edit TEXT and --reject.")
    settings = load()
    message = ResolveReview.model_validate(
        {
            "turn": turn,
            "decision": chosen[0],
            "answer": edit,
            "by": by,
            "note": note,
            "tenant": known_tenant(settings, tenant),
        }
    )
    connected = await conversations(settings)
    reply = await decide(connected, conversation, message)
    if json:
        print_json(reply)
    else:
        output().print(reply_view(reply, trace=connected.trace_url(reply.workflow_id)))
