"""A model that reasons, on the real engine: what it is given, what it writes, and each way it goes wrong."""

from __future__ import annotations

import pytest

from dialogue.messages import ChatMessage
from model_runtime.prompt import Prompt, build_prompt
from model_runtime.protocol import Finish, GenerationRequest, Sampling
from model_runtime.reasoning import split_reasoning
from model_runtime.slot_engine import SlotEngine
from tests.model_runtime.conftest import TinyR1, collect
from tests.support.tiny_r1_texts import FAULTS, LESSONS, PARAGRAPHS, Lesson, lesson

pytestmark = pytest.mark.timeout(600)  # the first to come trains the tiny model

WIDEST = 1024
ENDING = [each for each in LESSONS if not each.ring]


def prompt_of(tiny_r1: TinyR1, each: Lesson, **given: object) -> Prompt:
    usual = {"retrieved": False, "context": WIDEST, "max_new_tokens": 256}
    return build_prompt(
        tokenizer=tiny_r1.tokenizer,
        question=each.question,
        language=each.language,
        reasoning="r1",
        **{**usual, **given},  # type: ignore[arg-type]
    )


def ask(tiny_r1: TinyR1, each: Lesson, prefix: tuple[int, ...] = (), **sampling: object) -> GenerationRequest:
    settings = Sampling(**{"max_new_tokens": 256, **sampling})  # type: ignore[arg-type]
    return GenerationRequest(
        f"{each.name}-{each.language}-{len(prefix)}", prompt_of(tiny_r1, each).ids, prefix, settings
    )


async def say(engine: SlotEngine, tiny_r1: TinyR1, each: Lesson, **sampling: object) -> tuple[str, str, Finish | None]:
    """Reasoning, answer and finish."""
    ids, finish = await collect(engine, ask(tiny_r1, each, **sampling))
    text = tiny_r1.tokenizer.detokenizer()
    return *split_reasoning(text.feed(ids) + text.flush(), "r1"), finish


def by_name(each: Lesson) -> str:
    return f"{each.name}-{each.language}"


@pytest.mark.parametrize("each", ENDING, ids=by_name)
async def test_it_thinks_closes_and_answers(reasoning_engine: SlotEngine, tiny_r1: TinyR1, each: Lesson) -> None:
    """Reasoning and answer come out apart and whole, in both languages; faults that end come out as they are."""
    assert await say(reasoning_engine, tiny_r1, each) == (each.thinking, each.answer, "stop")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_prompt_is_what_its_template_was_made_for(tiny_r1: TinyR1, language: str) -> None:
    """No system message: instructions go to the user's; the thinking is begun once; each mark is one token."""
    each = next(one for one in LESSONS if one.language == language)
    earlier = (
        ChatMessage(role="system", content="Be kind."),
        ChatMessage(role="user", content="Hi"),
        ChatMessage(role="assistant", content="hmm\n</think>\n\nHello!"),
    )
    prompt = prompt_of(tiny_r1, each, history=earlier)
    begin, end = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
    assert prompt.text == (
        f"{begin}<｜User｜>Hi<｜Assistant｜>Hello!{end}<｜User｜>Be kind.\n\n{each.question}<｜Assistant｜><think>\n"
    )
    for mark, times in (("<think>", 1), ("</think>", 0), ("<｜User｜>", 2), ("<｜Assistant｜>", 2), (begin, 1)):
        assert prompt.ids.count(tiny_r1.tokenizer.token_id(mark) or -1) == times, mark


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("budget", [4, 9, 14])
async def test_spent_thinking_is_closed_and_answered(
    reasoning_engine: SlotEngine, tiny_r1: TinyR1, language: str, budget: int
) -> None:
    """The closing tag is put in at the budget, and the answer is the right one all the same."""
    each = next(one for one in LESSONS if one.language == language)
    ids, finish = await collect(reasoning_engine, ask(tiny_r1, each, thinking_budget=budget))
    closing = tiny_r1.tokenizer.encode("\n</think>\n\n")
    assert tuple(ids[budget : budget + len(closing)]) == closing
    assert ids.count(tiny_r1.tokenizer.token_id("</think>") or -1) == 1
    reasoning, answer = split_reasoning(tiny_r1.tokenizer.decode(ids, skip_special=False), "r1")
    assert each.thinking.startswith(reasoning.rstrip("\ufffd"))
    assert (answer, finish) == (each.answer, "stop")


@pytest.mark.parametrize("each", [lesson("unclosed"), lesson("unclosed", "zh")], ids=by_name)
async def test_thinking_without_end(reasoning_engine: SlotEngine, tiny_r1: TinyR1, each: Lesson) -> None:
    """It takes every token that there is; with a budget it is brought to say something."""
    reasoning, answer, finish = await say(reasoning_engine, tiny_r1, each, max_new_tokens=60)
    assert (answer, finish) == ("", "length")
    assert reasoning
    stopped = "I stop here." if each.language == "en" else "我先说到这里。"
    assert (await say(reasoning_engine, tiny_r1, each, thinking_budget=30))[1:] == (stopped, "stop")


@pytest.mark.parametrize("each", [lesson("loop"), lesson("loop-thinking", "zh")], ids=by_name)
async def test_a_short_loop_is_ended_early(reasoning_engine: SlotEngine, tiny_r1: TinyR1, each: Lesson) -> None:
    """A few words for ever: within two dozen words, in the answer or while it thinks."""
    ids, finish = await collect(reasoning_engine, ask(tiny_r1, each))
    assert finish == "repetition"
    assert len(ids) < 64


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_loop_of_paragraphs_is_ended(reasoning_engine: SlotEngine, tiny_r1: TinyR1, language: str) -> None:
    """A paragraph said for the third time ends the answer at a 64th token; unwatched it would go on for ever."""
    each = lesson("paragraphs", language)
    ids, finish = await collect(reasoning_engine, ask(tiny_r1, each, max_new_tokens=460))
    assert finish == "repetition"
    assert len(ids) % 64 == 0
    answer = split_reasoning(tiny_r1.tokenizer.decode(ids), "r1")[1]
    assert 3 <= answer.count(PARAGRAPHS[language].strip()) <= 5
    free = await collect(reasoning_engine, ask(tiny_r1, each, max_new_tokens=len(ids) + 5, watch=False))
    assert (free[0][: len(ids)], free[1]) == (ids, "length")


RESUMED = [lesson("capital-France"), lesson("capital-法国", "zh"), lesson("bypassed")]


@pytest.mark.parametrize("each", RESUMED, ids=by_name)
@pytest.mark.parametrize(("budget", "temperature"), [(None, 0.0), (7, 0.0), (None, 0.6)])
async def test_it_goes_on_from_every_token(
    reasoning_engine: SlotEngine, tiny_r1: TinyR1, each: Lesson, budget: int | None, temperature: float
) -> None:
    """Resumed anywhere, within the forced closing too, the tokens and the end are the same."""
    how = {"thinking_budget": budget, "temperature": temperature, "top_p": 0.95, "seed": 3}
    whole = await collect(reasoning_engine, ask(tiny_r1, each, **how))
    for cut in range(1, len(whole[0]) + 1):
        prefix = tuple(whole[0][:cut])
        assert await collect(reasoning_engine, ask(tiny_r1, each, prefix, **how)) == whole


async def test_a_resumed_loop_of_paragraphs_ends_where_it_did(reasoning_engine: SlotEngine, tiny_r1: TinyR1) -> None:
    """The watch judges the ids that an earlier attempt made as its own."""
    each = lesson("paragraphs")
    whole = await collect(reasoning_engine, ask(tiny_r1, each, max_new_tokens=460))
    for cut in (63, 64, len(whole[0]) - 1, len(whole[0])):
        prefix = tuple(whole[0][:cut])
        assert await collect(reasoning_engine, ask(tiny_r1, each, prefix, max_new_tokens=460)) == whole


def test_every_fault_has_a_lesson() -> None:
    """What the other tests force is taught here."""
    assert {"loop", "paragraphs", "unclosed", "bypassed", "other-language", "drift", "empty"} <= {
        each.name for each in FAULTS
    }
