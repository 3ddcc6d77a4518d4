"""``parley transcript CONVERSATION``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.options import Json, Tenant

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dialogue.turn import Transcript

__all__ = ["transcript", "transcript_view"]


async def transcript(conversation: str, /, *, tenant: Tenant = "default", json: Json = False) -> None:
    """Show the turns of a conversation."""
    from cli.connected import conversations, known_tenant
    from cli.console import output, print_json
    from settings.load import load

    settings = load()
    connected = await conversations(settings)
    found = await connected.transcript(conversation, known_tenant(settings, tenant))
    if json:
        print_json({**found.model_dump(mode="json"), "trace_url": connected.trace_url(conversation)})
    else:
        output().print(transcript_view(found))


def transcript_view(found: Transcript) -> RenderableType:
    """Each turn with its question, its answer and one line about it."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from cli.tables import MARGIN, duration, said

    closed = " · closed" if found.closed else ""
    parts: list[RenderableType] = [Text(f"conversation {found.conversation}  tenant {found.tenant}{closed}")]
    if found.older:
        parts.append(Text(f"{found.older} older turns are in the audit"))
    for turn in found.turns:
        intent = f"{turn.intent} {turn.confidence or 0:.2f}" if turn.intent else "out of scope"
        state = turn.verdict if turn.state == "done" else turn.state
        line = f"turn {turn.turn} · {intent} · {state} · {turn.tokens} tokens · {duration(turn.seconds * 1000)}"
        parts += [Text(""), said("you", turn.question), said("parley", turn.answer or "…")]
        parts.append(Padding(Text(line, style="dim"), (0, 0, 0, MARGIN)))
    return Group(*parts)
