"""Who pays for an answer: whoever asked while it was made, once, and nobody who asks for it again."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from dialogue.faults import LimitReached
from dialogue.steps import Usage
from dialogue.turn import Reply
from gateway.counted_turns import CountedTurns, Spent
from gateway.limits import Limits
from gateway.turn_streams import Place
from settings.schema import LimitSettings

NOBODY: Any = None
PLACE = Place("conv-1", "m-1", 1, "digest")


def a_gateway() -> tuple[CountedTurns, Limits]:
    """One that has just been started."""
    limits = Limits({"dear": LimitSettings(tokens_per_minute=10)}, 1000)
    return CountedTurns(limits, NOBODY, asyncio.Event(), NOBODY), limits


def a_reply(answered_at: float) -> Reply:
    told = {
        "conversation": "conv-1",
        "turn": 1,
        "message_id": "m-1",
        "tenant": "dear",
        "state": "done",
        "answer": "Yes.",
    }
    said = {"language": "en", "verdict": "pass", "workflow_id": "conv-1", "run_id": "r", "received_at": 0.0}
    usage = Usage(prompt_tokens=20, completion_tokens=8)
    return Reply.model_validate({**told, **said, "usage": usage, "answered_at": answered_at})


async def is_charged(limits: Limits) -> bool:
    try:
        await limits.request("dear")
    except LimitReached:
        return True
    return False


@pytest.mark.parametrize(("ago", "charged"), [(0.0, True), (3600.0, False)])
async def test_an_answer_that_was_there_before_costs_nothing(ago: float, charged: bool) -> None:
    """Also where this gateway was not there when it was made."""
    turns, limits = a_gateway()

    async def saying() -> Reply:
        return a_reply(time.time() - ago)

    await turns.counted("dear", PLACE, saying(), Spent())
    assert await is_charged(limits) is charged


@pytest.mark.parametrize(("ago", "charged"), [(0.0, True), (3600.0, False)])
async def test_nor_does_one_that_is_streamed_again(ago: float, charged: bool) -> None:
    """Its reply is not waited for: the stream's last event says what it cost, and when it was made."""
    turns, limits = a_gateway()
    spent, begun = Spent(), asyncio.Event()

    async def saying() -> Reply:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    counted = asyncio.create_task(turns.counted("dear", PLACE, saying(), spent))
    await begun.wait()
    spent.tokens, spent.answered_at = 28, time.time() - ago
    counted.cancel()
    await asyncio.wait({counted})
    assert await is_charged(limits) is charged
