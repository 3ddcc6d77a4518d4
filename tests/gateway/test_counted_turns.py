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
from records.tracing import exporting
from settings.schema import LimitSettings, TelemetrySettings
from tests.support.otlp_receiver import ReceivedSpan, otlp_receiver

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


async def cancelled(turns: CountedTurns, spent: Spent, tokens: int | None, tenant: str = "dear") -> None:
    """Says a message, and leaves: behind its last event, where ``tokens`` says what it cost."""
    begun = asyncio.Event()

    async def saying() -> Reply:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    counted = asyncio.create_task(turns.counted(tenant, PLACE, saying(), spent))
    await begun.wait()
    spent.tokens = tokens
    counted.cancel()
    await asyncio.wait({counted})
    assert counted.cancelled()


@pytest.mark.parametrize(("ago", "charged"), [(0.0, True), (3600.0, False)])
async def test_nor_does_one_that_is_streamed_again(ago: float, charged: bool) -> None:
    """Its reply is not waited for: the stream's last event says what it cost, and when it was made."""
    turns, limits = a_gateway()
    await cancelled(turns, Spent(answered_at=time.time() - ago), 28)
    assert await is_charged(limits) is charged


async def test_the_span_of_a_streamed_turn_is_whole() -> None:
    """Its reply is not waited for once the last event was read: that is no cancelling. Whose it was stands in both."""
    turns, _ = a_gateway()
    spent = [Spent(), Spent()]
    with otlp_receiver() as receiver:
        with exporting(TelemetrySettings(otlp_endpoint=receiver.url), "gateway", "here:1"):
            await cancelled(turns, spent[0], None, "free")
            await cancelled(turns, spent[1], 28, "free")
        spans: list[ReceivedSpan] = receiver.spans
    for span in spans:
        assert (span.attributes["gen_ai.conversation.id"], span.attributes["parley.tenant"]) == ("conv-1", "free")
    assert [span.attributes.get("parley.cancelled", False) for span in spans] == [True, False]
    assert [span.trace for span in spans] == [each.trace_id for each in spent]
