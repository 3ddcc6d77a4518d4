"""What the cache holds of a prompt is not computed again, and no token changes by that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_runtime.protocol import GenerationRequest, Sampling, TokenEvent
from model_runtime.slot_engine import SlotEngine
from model_runtime.tokenizer import Tokenizer

CHUNK = 256
Asked = Callable[..., GenerationRequest]


@pytest.fixture
async def fresh(model_folder: Path) -> AsyncIterator[SlotEngine]:
    engine = SlotEngine(model_folder, rows=3, widths=(256, 512, 1024), threads=1)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
def words(tokenizer: Tokenizer, repository: Path) -> tuple[int, ...]:
    articles = sorted((repository / "examples/help/en").glob("*.md"))
    return tokenizer.encode("\n".join(article.read_text("utf-8") for article in articles))


async def answer(engine: SlotEngine, request: GenerationRequest) -> tuple[tuple[int, ...], int]:
    """The answer, and how much of its prompt was reused."""
    events: list[TokenEvent] = [event async for event in engine.submit(request)]
    return tuple(token for event in events for token in event.token_ids), events[0].reused


def asked(id_: str, prompt: tuple[int, ...], seed: int = 0) -> GenerationRequest:
    sampling = Sampling(temperature=0.8, seed=seed, max_new_tokens=6, watch=False)
    return GenerationRequest(id_, prompt, sampling=sampling)


async def test_a_prompt_is_taken_in_once(fresh: SlotEngine, words: tuple[int, ...]) -> None:
    """By its whole chunks; the last one gives the logits. The next turn begins as the one before did, and a prompt that
    differs early shares only what stands before."""
    first, second = words[:600], words[:560] + words[900:1000]
    early = words[:300] + words[700:900]
    cold = {}
    for prompt in (first, second, early):
        engine = SlotEngine(fresh._folder, rows=3, widths=(256, 512, 1024), threads=1)
        await engine.start()
        cold[prompt] = (await answer(engine, asked("c", prompt)))[0]
        await engine.close()
    assert await answer(fresh, asked("1", first)) == (cold[first], 0)
    assert await answer(fresh, asked("2", first)) == (cold[first], 2 * CHUNK)
    assert await answer(fresh, asked("3", second)) == (cold[second], 2 * CHUNK)
    assert await answer(fresh, asked("4", early)) == (cold[early], CHUNK)
    assert await answer(fresh, asked("5", words[1000:1400])) == (
        (await answer(fresh, asked("6", words[1000:1400])))[0],
        0,
    )
    stats = await fresh.stats()
    assert stats["reused_tokens"] == (2 + 2 + 1 + 1) * CHUNK
    assert stats["prefill_tokens"] == 600 + 88 + 148 + (500 - CHUNK) + 400 + (400 - CHUNK)


@pytest.mark.full
async def test_candidates_share_their_prompt(fresh: SlotEngine, words: tuple[int, ...]) -> None:
    """While all of them are in the batch, each with a seed of its own."""
    prompt = words[:520]
    alone = [(await answer(fresh, asked(f"a{seed}", prompt, seed)))[0] for seed in range(3)]
    other = words[600:1100]
    await asyncio.gather(*(answer(fresh, asked(f"o{n}", other[n:])) for n in range(3)))  # all rows hold another one
    together = await asyncio.gather(*(answer(fresh, asked(f"t{seed}", prompt, seed)) for seed in range(3)))
    assert [each[0] for each in together] == alone
    assert sorted(each[1] for each in together)[1:] == [2 * CHUNK] * 2


async def test_a_resumed_answer_reuses_its_prompt(fresh: SlotEngine, words: tuple[int, ...]) -> None:
    """And goes on with the same tokens."""
    request = asked("w", words[:600])
    whole, _ = await answer(fresh, request)
    rest, reused = await answer(fresh, replace(request, id="r", prefix_ids=whole[:3]))
    assert (whole[:3] + rest, reused) == (whole, 2 * CHUNK)


@pytest.mark.full
async def test_what_was_given_back_is_taken_in_again(model_folder: Path, words: tuple[int, ...]) -> None:
    """Memory for two of three widths: the prompt's place was made another's in between, and nothing of it is read."""
    engine = SlotEngine(model_folder, rows=3, widths=(256, 512, 1024), threads=1, cache_bytes=105 << 20)
    await engine.start()
    long, short = words[:600], words[700:1100]
    first = await answer(engine, asked("1", long))
    assert first[0]
    await answer(engine, asked("2", short))
    assert await answer(engine, asked("3", long)) == (first[0], 0)
    assert await answer(engine, asked("4", long)) == (first[0], 2 * CHUNK)
    await engine.close()
