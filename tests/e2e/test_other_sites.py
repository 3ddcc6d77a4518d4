"""Other ``temporal.yaml``: the pools split in three, and a review that nobody resolves."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialogue.messages import Say
from dialogue.turn import Reply
from tests.support.site import bring_up_site

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("site")]

THREE_POOLS = {
    "pools": {
        "dialogue": {"serves": ["workflows", "receive_input", "review_answer", "return_answer"]},
        "knowledge": {"serves": ["recognise_intent", "retrieve_knowledge"], "task_queue": "kb"},
        "gpu": {"serves": ["generate_answer"], "task_queue": "gpu.default", "slots": 8},
    },
    "policies": {"default": {"human_timeout": 1.0}},
}


async def test_three_pools_and_a_review_that_times_out(tmp_path: Path) -> None:
    """The steps run where the settings say; a turn nobody resolves ends with the fallback text."""
    async with bring_up_site(tmp_path, THREE_POOLS) as site:
        reply = await site.say(site.new(), "How long do I have to send back shoes I bought online?", "m1")
        pools = {step.step: step.pool for step in reply.steps}
        assert pools["recognise_intent"] == pools["retrieve_knowledge"] == "knowledge"
        assert (pools["receive_input"], pools["generate_answer"]) == ("dialogue", "gpu")
        conversation = site.new()
        waiting = await site.say(conversation, "I want to talk to a real person please", "m1")
        assert waiting.state == "waiting"
        after = await site.conversations.say(conversation, Say(message_id="m2", text="Hello!"))
        assert isinstance(after, Reply)
        assert after.turn == 2
        first, _ = await site.rows(conversation)
        assert "nobody resolved it in time" in first.note
