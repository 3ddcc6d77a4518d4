"""Turns that wait for a person: which there are, and what became of one. For the gateway and the command line."""

from __future__ import annotations

import asyncio

from dialogue.faults import NoSuchReview
from dialogue.messages import ResolveReview
from dialogue.turn import Reply, Transcript, TurnSummary
from gateway.conversations import Conversations
from gateway.drafts import considered
from gateway.wire import Review

__all__ = ["decide", "waiting_review", "waiting_reviews"]

MOST = 200
"""Turns told at once; who has decided on some sees the next."""
AT_ONCE = 8
"""Histories that are read at the same time."""


async def waiting_reviews(conversations: Conversations, tenant: str | None = None) -> list[Review]:
    """Those of one tenant or of all, the longest waiting first; at most ``MOST``."""
    found: list[tuple[str, Transcript, TurnSummary]] = []
    async for conversation, transcript in conversations.waiting(tenant):
        found += [(conversation, transcript, turn) for turn in transcript.turns if turn.turn in transcript.waiting]
        if len(found) >= MOST:
            break
    reading = asyncio.Semaphore(AT_ONCE)

    async def review(conversation: str, transcript: Transcript, turn: TurnSummary) -> Review:
        async with reading:
            return await _review(conversations, conversation, transcript, turn)

    reviews = await asyncio.gather(*(review(*each) for each in found[:MOST]))
    return sorted(reviews, key=lambda each: each.since or 0.0)


async def waiting_review(conversations: Conversations, conversation: str, turn: int, tenant: str) -> Review:
    """One of them. Raises UnknownConversation and NoSuchReview."""
    transcript = await conversations.transcript(conversation, tenant)
    waits = next((each for each in transcript.turns if each.turn == turn and turn in transcript.waiting), None)
    if waits is None:
        raise NoSuchReview(f"turn: turn {turn} of {conversation} does not wait for a person.", field="turn")
    return await _review(conversations, conversation, transcript, waits)


async def _review(conversations: Conversations, conversation: str, transcript: Transcript, turn: TurnSummary) -> Review:
    found = await considered(conversations.client, conversation, turn.turn)
    return Review(
        conversation=conversation,
        tenant=transcript.tenant,
        turn=turn.turn,
        message_id=turn.message_id,
        question=turn.question,
        language=turn.language,
        intent=turn.intent,
        since=found.since,
        draft=found.draft,
        files=found.files,
    )


async def decide(conversations: Conversations, conversation: str, decision: ResolveReview) -> Reply:
    """The reply that the decision made. Raises UnknownConversation and NoSuchReview."""
    return Reply.model_validate(await conversations.resolve_review(conversation, decision))
