"""Whole turns of a model that really reasons: what its thinking does to the ladder, and what the reply tells of it.

Generation is the real step over the real engine, with the tiny model of `tests/support/tiny_r1.py`; intent and review
are the script's.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.testing import WorkflowEnvironment

from activities.generate_answer import GenerateAnswerStep, ServedModel
from activities.stream_events import StreamEvents
from dialogue.plan import Rung, TurnPlan
from dialogue.steps import ReceiveInput, RecognisedIntent, RecogniseIntent
from gateway.conversations import Conversations
from model_runtime.keeper import EngineKeeper
from model_runtime.slot_engine import SlotEngine
from records.content import ContentStore
from records.database import connect_database, migrate
from records.token_log_sqlite import SqliteTokenLog
from tests.model_runtime.conftest import TinyR1, tiny_r1
from tests.support.scripted_plan import scripted_plan
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from tests.support.tiny_r1_texts import lesson
from tests.workflows.conftest import Site

__all__ = ["tiny_r1"]

pytestmark = pytest.mark.timeout(600)  # the first to come trains the tiny model


class ReasoningSteps(ScriptedSteps):
    """The script, but for its generation."""

    generation: GenerateAnswerStep

    @activity.defn(name="recognise_intent")
    async def recognise_intent(self, request: RecogniseIntent) -> RecognisedIntent:
        self.calls.append(("recognise_intent", request))
        return RecognisedIntent(intent="small_talk", confidence=0.9, route="generate", model="m")

    def activities(self) -> Sequence[Callable[..., Any]]:
        scripted = [each for each in super().activities() if each != self.generate_answer]
        return [*scripted, self.generation.generate_answer]


@pytest.fixture
async def reasoning(temporal: WorkflowEnvironment, tiny_r1: TinyR1, tmp_path: Path) -> AsyncIterator[Site]:
    """A worker with the tiny model in bf16; its plans are greedy, of 40 tokens, with one rung of thinking."""
    queue = f"test-{uuid.uuid4().hex[:8]}"
    keeper = EngineKeeper(SlotEngine(tiny_r1.folders["bf16"], rows=2, widths=(128, 256), threads=1))
    await keeper.start()
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    database, log = connect_database(url), SqliteTokenLog(tmp_path / "log.db")
    steps = ReasoningSteps(queue)
    served = {"scripted": ServedModel("scripted", "d" * 64, tiny_r1.tokenizer, keeper)}
    steps.generation = GenerateAnswerStep(served, log, ContentStore(database), StreamEvents(log), identity="test")
    conversations = Conversations(temporal.client, task_queue=queue, web_ui="http://127.0.0.1:8233")
    async with scripted_worker(temporal.client, steps):
        yield Site(temporal.client, steps, conversations)
    await keeper.close()
    await log.close()
    await database.dispose()


def thinking(site: Site, *, budget: int | None, max_turn_tokens: int | None = None) -> None:
    """How its turns are planned: one rung, of sixteen tokens of thinking."""

    def planner(request: ReceiveInput) -> TurnPlan:
        plan = scripted_plan(request, site.steps.queue, human_timeout=60, max_seconds=600, steps={})
        given = {"temperature": 0.0, "max_new_tokens": 40, "thinking_budget": budget}
        rungs = {**plan.ladder.rungs, "unclosed_reasoning": (Rung(thinking_budget=16),)}
        ladder = {"rungs": rungs, "max_turn_tokens": max_turn_tokens}
        return plan.model_copy(
            update={
                "model": plan.model.model_copy(update={"reasoning": "r1"}),
                "generation": plan.generation.model_copy(update=given),
                "ladder": plan.ladder.model_copy(update=ladder),
            }
        )

    site.steps.planner = planner


async def tries(site: Site, text: str) -> tuple[Any, list[str]]:
    reply = await site.say(site.new(), text)
    return reply, [step.result for step in reply.steps if step.step == "generate_answer"]


async def test_thinking_that_uses_up_the_tokens_gets_a_budget(reasoning: Site) -> None:
    """The first try only thinks; the rung's budget closes the thinking, and what is answered then is sent."""
    thinking(reasoning, budget=None)
    reply, (first, second) = await tries(reasoning, lesson("unclosed").question)
    assert first.startswith("40 tokens · unclosed reasoning")
    assert second.startswith("unclosed reasoning → thinking budget 16 · ")
    assert " · stop · reasoning truncated" in second
    assert reply.verdict == "pass"
    assert reply.answer
    assert reply.reasoning
    assert "think>" not in reply.answer + reply.reasoning


async def test_a_budget_that_is_spent_is_no_poor_result(reasoning: Site) -> None:
    """The one try is answered from what was thought so far, and the reply's table says so."""
    thinking(reasoning, budget=9)
    reply, results = await tries(reasoning, lesson("capital-Japan").question)
    assert len(results) == 1
    assert "reasoning truncated" in results[0]
    assert reply.verdict == "pass"
    assert reply.usage.reasoning_tokens >= 9


async def test_thinking_counts_towards_the_tokens_of_the_turn(reasoning: Site) -> None:
    """Used up while it thought, the turn has none left for the rung with a budget."""
    thinking(reasoning, budget=None, max_turn_tokens=40)
    reply, results = await tries(reasoning, lesson("unclosed").question)
    assert len(results) == 1
    assert (reply.verdict, reply.note) == ("template", "unclosed reasoning: the turn's tokens are used up")
    assert reply.usage.completion_tokens == 40


async def test_what_a_rung_wants_is_cut_to_what_is_left(reasoning: Site) -> None:
    """The engine makes no token more than the turn may have."""
    thinking(reasoning, budget=None, max_turn_tokens=60)
    reply, results = await tries(reasoning, lesson("unclosed").question)
    assert len(results) == 2
    assert 40 < reply.usage.completion_tokens <= 60


async def test_an_empty_answer_goes_the_way_of_empty(reasoning: Site) -> None:
    """It thought, closed its thinking and said nothing: that is no lack of tokens."""
    thinking(reasoning, budget=None)
    _, results = await tries(reasoning, lesson("closed-empty").question)
    assert " · empty" in results[0]
    assert results[1].startswith("empty → temperature 0.8")
