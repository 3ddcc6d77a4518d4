"""Candidates of a model that reasons, on the real engine: what is told of each, and which are stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from activities.generate_answer import _poor, _sampling
from activities.sampling import CandidateSampler
from dialogue.messages import TurnKey
from dialogue.steps import Candidate, GenerateAnswer
from model_runtime.prompt import build_prompt
from model_runtime.slot_engine import SlotEngine
from records.token_log import TokenLog
from records.token_log_sqlite import SqliteTokenLog
from tests.model_runtime.conftest import TinyR1, until
from tests.support.tiny_r1_texts import Lesson, lesson

pytestmark = pytest.mark.timeout(600)  # the first to come trains the tiny model


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[TokenLog]:
    log = SqliteTokenLog(tmp_path / "log.db")
    yield log
    await log.close()


def request_of(each: Lesson, **given: Any) -> GenerateAnswer:
    usual: dict[str, Any] = {
        "turn": TurnKey(conversation="conv-1", turn=1, tenant="default"), "try_number": 1, "question": each.question,
        "language": each.language, "retrieved": False, "temperature": 0, "top_p": 1, "max_new_tokens": 460, "seed": 1,
        "model": "m", "model_digest": "d", "reasoning": "r1",
    }  # fmt: skip
    return GenerateAnswer(**{**usual, **given})


async def sample(
    engine: SlotEngine, tiny_r1: TinyR1, log: TokenLog, request: GenerateAnswer, attempt: int = 1
) -> CandidateSampler:
    """One candidate, as the step samples it."""
    prompt = build_prompt(
        tokenizer=tiny_r1.tokenizer, question=request.question, language=request.language, retrieved=False,
        reasoning="r1", context=1024, max_new_tokens=request.max_new_tokens,
    )  # fmt: skip
    sampler = CandidateSampler(request, 0, attempt, _sampling(request, 0), tiny_r1.tokenizer, log, show=True)
    await sampler.run(engine, prompt.ids, lambda: 0.0)
    return sampler


def poor_of(sampler: CandidateSampler) -> str | None:
    return _poor(sampler.request, sampler.candidate(), closed=sampler.reader.closed)


@pytest.mark.parametrize(
    ("each", "given", "finish", "poor", "flags"),
    [
        (lesson("capital-France"), {}, "stop", None, (False, False)),
        (lesson("capital-法国", "zh"), {}, "stop", None, (False, False)),
        (lesson("capital-Japan"), {"thinking_budget": 9}, "stop", None, (True, False)),
        (lesson("capital-Japan"), {"thinking_budget": 200}, "stop", None, (False, False)),
        (lesson("unclosed", "zh"), {"thinking_budget": 30}, "stop", None, (True, False)),
        (lesson("unclosed"), {"max_new_tokens": 40}, "length", "unclosed_reasoning", (False, False)),
        (lesson("bypassed"), {}, "stop", None, (False, True)),
        (lesson("bypassed", "zh"), {}, "stop", None, (False, True)),
        (lesson("empty"), {}, "stop", "empty", (False, False)),
        (lesson("closed-empty"), {}, "stop", "empty", (False, False)),
        (lesson("loop"), {}, "repetition", "repetition", (False, False)),
        (lesson("paragraphs", "zh"), {}, "repetition", "repetition", (False, False)),
        (lesson("other-language"), {}, "wrong_language", "wrong_language", (False, False)),
        (lesson("other-language", "zh"), {}, "wrong_language", "wrong_language", (False, False)),
        (lesson("drift"), {}, "wrong_language", "wrong_language", (False, False)),
    ],
    ids=lambda value: f"{value.name}-{value.language}" if isinstance(value, Lesson) else "",
)
async def test_what_becomes_of_each(
    reasoning_engine: SlotEngine,
    tiny_r1: TinyR1,
    log: TokenLog,
    each: Lesson,
    given: dict[str, Any],
    finish: str,
    poor: str | None,
    flags: tuple[bool, bool],
) -> None:
    """The finish, what the ladder hears, and whether the thinking was truncated or bypassed."""
    sampler = await sample(reasoning_engine, tiny_r1, log, request_of(each, **given))
    candidate = sampler.candidate()
    assert (candidate.finish_reason, poor_of(sampler)) == (finish, poor)
    assert (candidate.reasoning_truncated, candidate.reasoning_bypassed) == flags
    assert "</think>" not in candidate.answer + candidate.reasoning
    assert await log.tokens("conv-1/0001", 1, 0) == tuple(sampler.ids)


@pytest.mark.parametrize("each", [lesson("drift"), lesson("other-language", "zh")], ids=lambda each: each.language)
async def test_a_drifted_answer_is_stopped_and_its_row_freed(
    reasoning_engine: SlotEngine, tiny_r1: TinyR1, log: TokenLog, each: Lesson
) -> None:
    """It ends with the sentence that told, long before its own end."""
    sampler = await sample(reasoning_engine, tiny_r1, log, request_of(each))
    answer = sampler.candidate().answer
    assert each.answer.startswith(answer)
    assert len(answer) < len(each.answer)
    assert (await reasoning_engine.stats())["cancelled"] >= 1
    await until(lambda: reasoning_engine._batch.busy == 0)


async def test_an_answer_resumed_anywhere_is_judged_the_same(
    reasoning_engine: SlotEngine, tiny_r1: TinyR1, log: TokenLog
) -> None:
    """A later attempt that finds the first tokens logged comes to the same candidate, at its last token too."""
    budgeted = request_of(lesson("drift"), thinking_budget=5)
    whole = await sample(reasoning_engine, tiny_r1, log, budgeted)
    for number, cut in enumerate((1, 5, 6, len(whole.ids) // 2, len(whole.ids) - 1, len(whole.ids)), 2):
        request = budgeted.model_copy(update={"try_number": number})
        await log.open_attempt(request.turn.stream, number, 0, 1)
        await log.append_tokens(request.turn.stream, number, 0, 1, 0, tuple(whole.ids[:cut]), [])
        resumed = await sample(reasoning_engine, tiny_r1, log, request, attempt=2)
        assert resumed.resumed_at == cut
        assert (resumed.ids, resumed.candidate()) == (whole.ids, whole.candidate())


def test_no_closing_tag_is_put_into_a_model_that_does_not_reason() -> None:
    """A rung's thinking budget means nothing to it."""
    each = request_of(lesson("drift"), thinking_budget=5)
    assert _sampling(each, 0).thinking_budget == 5
    assert _sampling(each.model_copy(update={"reasoning": "none"}), 0).thinking_budget is None


def test_a_recorded_candidate_of_before_still_reads() -> None:
    """Histories written without the flags say false."""
    candidate = Candidate.model_validate({"answer": "a", "finish_reason": "stop"})
    assert (candidate.reasoning_truncated, candidate.reasoning_bypassed) == (False, False)
