"""A poor result is tried again by the ladder, each rung recorded and named in the next try's summary."""

from __future__ import annotations

from typing import get_args

import pytest
from temporalio.api.enums.v1 import EventType

from dialogue.plan import Poor
from tests.workflows.conftest import Site


async def _summaries(site: Site, conversation: str) -> list[str]:
    handle = site.client.get_workflow_handle(conversation)
    found: list[str] = []
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            payload = event.user_metadata.summary
            found.append(site.client.data_converter.payload_converter.from_payload(payload, str))
    return found


async def test_a_repetition_is_tried_again_warmer(site: Site) -> None:
    """The second try has the rung's temperature and another seed, and both tries stand in the table."""
    conversation = site.new()
    reply = await site.say(conversation, "repeat yourself")
    first, second = site.steps.called("generate_answer")
    assert (first.temperature, second.temperature) == (0.6, 0.7)
    assert first.seed != second.seed
    tries = [step for step in reply.steps if step.step == "generate_answer"]
    assert [step.try_number for step in tries] == [1, 2]
    assert tries[1].result.startswith("repetition → temperature 0.7")
    assert "turn 1 · generate_answer · try 2 of 4: repetition → temperature 0.7" in await _summaries(site, conversation)


async def test_a_failed_review_asks_for_several_candidates_and_keeps_the_best(site: Site) -> None:
    """The rung samples three in one batch; the answer is the one that the review kept."""
    reply = await site.say(site.new(), "bad answer first")
    assert [request.candidates for request in site.steps.called("generate_answer")] == [1, 3]
    assert len(site.steps.called("review_answer")[1].candidates) == 3
    assert reply.answer == "You have 30 days [1]. (2)"


async def test_what_no_candidate_can_say_is_quoted(site: Site) -> None:
    """After the candidates fail the review too, the passages themselves are the answer."""
    reply = await site.say(site.new(), "the worst question")
    assert reply.answer == "You have 30 days. [1]"
    assert len(site.steps.called("quote_passages")) == 1
    assert reply.verdict == "pass"


async def test_a_language_the_model_does_not_speak_is_never_generated(site: Site) -> None:
    """A Chinese question to an English model is answered by quoting, without asking the model at all."""
    reply = await site.say(site.new(), "多少天？")
    assert not site.steps.called("generate_answer")
    assert site.steps.called("quote_passages")[0].why == "language_unknown"
    assert any("language unknown" in step.result for step in reply.steps)


async def test_out_of_memory_is_a_result_and_not_the_end(site: Site) -> None:
    """The engine's fault becomes the rung with fewer passages."""
    reply = await site.say(site.new(), "memory is short")
    assert [request.max_passages for request in site.steps.called("generate_answer")] == [None, 1]
    assert reply.verdict == "pass"


async def test_the_end_of_the_ladder_is_the_fallback_text(site: Site) -> None:
    """When every rung was used the tenant's fallback is sent, with the verdict template."""
    reply = await site.say(site.new(), "nothing comes")
    assert (reply.verdict, reply.answer) == ("template", "(fallback)")
    assert len(site.steps.called("generate_answer")) == 2


async def test_a_fault_without_a_rung_fails_the_turn(site: Site) -> None:
    """A corrupt model is no poor result: the turn fails and says so."""
    reply = await site.say(site.new(), "corrupt weights")
    assert reply.verdict == "failed"
    assert "model-corrupt" in reply.note


async def test_tokens_of_every_try_are_counted(site: Site) -> None:
    """Usage is what the turn cost, failed tries included."""
    reply = await site.say(site.new(), "repeat yourself")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (40, 16)


async def test_a_review_that_fails_withholds_the_answer(site: Site) -> None:
    """Fails closed: nothing unreviewed is sent."""
    reply = await site.say(site.new(), "unreviewed")
    assert (reply.verdict, reply.answer) == ("failed", "(failed)")


async def test_a_site_may_choose_that_a_failed_review_lets_answers_pass(site: Site) -> None:
    """Where the policy says ``open`` the answer is sent, and its note says that it was not reviewed."""
    reply = await site.say(site.new(), "open but unreviewed")
    assert (reply.verdict, reply.answer) == ("pass", "You have 30 days [1]. (0)")
    assert reply.note.startswith("not reviewed: review_answer: policy")


WAYS: dict[Poor, tuple[str, list[str]]] = {
    "out_of_memory": ("memory is short", ["out of memory → passages 1"]),
    "timed_out": ("it always tires", ["timed out → max new tokens 20", "timed out → quote the passages"]),
    "too_long": ("it exceeds", ["too long → history 0"]),
    "repetition": ("repeat yourself", ["repetition → temperature 0.7"]),
    "empty": ("nothing comes", ["empty → temperature 0.8"]),
    "unclosed_reasoning": ("ponder this", ["unclosed reasoning → thinking budget 16"]),
    "wrong_language": ("it was misspoken", ["wrong language → model fallback"]),
    "language_unknown": ("退货要多少天？", ["language unknown → quote the passages"]),
    "engine_lost": ("an outage", ["engine lost → model fallback"]),
    "failed_review": ("the worst question", ["failed review → candidates 3", "failed review → quote the passages"]),
}
"""What is said so that a try is poor in that way, and the rungs that the turn then takes."""


@pytest.mark.parametrize("poor", get_args(Poor))
async def test_each_way_of_being_poor_takes_its_rungs(site: Site, poor: Poor) -> None:
    """In order, as its plan holds them; each stands in the turn's table and in its try's summary."""
    text, rungs = WAYS[poor]
    conversation = site.new()
    reply = await site.say(conversation, text)
    results = [step.result for step in reply.steps if step.step == "generate_answer"]
    assert [result.split(" · ")[0] for result in results if "→" in result] == rungs
    tries = [line for line in await _summaries(site, conversation) if "review_answer" not in line and " · try " in line]
    assert [line.rpartition(": ")[2] for line in tries] == [
        rung.removesuffix(" → quote the passages") for rung in rungs
    ]
