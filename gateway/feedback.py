"""What people thought of answers, on its way to the audit. For the gateway and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from dialogue.faults import NoSuchTurn, UnknownConversation
from dialogue.messages import Feedback
from gateway.conversations import Conversations
from settings.layout import Layout
from settings.schema import Settings

if TYPE_CHECKING:
    from records.audit import AuditLog

__all__ = ["give_feedback"]


async def give_feedback(
    conversations: Conversations, settings: Settings, conversation: str, given: Feedback
) -> Literal["accepted", "kept"]:
    """``accepted``: its running conversation keeps it. ``kept``: it is in the audit, because nothing runs any more
    that would, or Temporal has forgotten the conversation.

    Raises UnknownConversation, NoSuchTurn and RecordsUnavailable.
    """
    try:
        transcript = await conversations.transcript(conversation, given.tenant)
    except UnknownConversation:
        async with _audit(settings) as audit:
            if not await _is_kept(audit, conversation, given):
                raise
            await _keep(audit, conversation, given)
        return "kept"
    turns = transcript.older + len(transcript.turns)
    if given.turn > turns:
        raise NoSuchTurn(f"turn: {conversation} has no turn {given.turn}; it has {turns}.", field="turn")
    if await conversations.signal_feedback(conversation, given):
        return "accepted"
    async with _audit(settings) as audit:
        await _keep(audit, conversation, given)
    return "kept"


@asynccontextmanager
async def _audit(settings: Settings) -> AsyncIterator[AuditLog]:
    """Opened for this one call: it is rarely needed, and a connection that idles for days is none that works."""
    from records.audit import AuditLog
    from records.database import connect_database
    from records.protection import open_protection

    database = connect_database(Layout.of(settings).database_url(settings.records.database))
    try:
        protection = await asyncio.to_thread(open_protection, settings, database)
        yield AuditLog(database, protection.keys if protection else None)
    finally:
        await database.dispose()


async def _is_kept(audit: AuditLog, conversation: str, given: Feedback) -> bool:
    rows = await audit.turns(conversation, given.tenant, before=given.turn + 1, limit=1)
    return any(row.turn == given.turn for row in rows)


async def _keep(audit: AuditLog, conversation: str, given: Feedback) -> None:
    await audit.keep_feedback(conversation=conversation, **given.model_dump())
