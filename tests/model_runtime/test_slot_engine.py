"""The slot engine on the real model: the same tokens in any company, joining, leaving, resuming, bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from dialogue.faults import EngineLost, ModelMissing, OutOfMemory, PromptTooLong
from model_runtime.prepare import prepare_model
from model_runtime.protocol import GenerationRequest, Sampling
from model_runtime.slot_engine import SlotEngine
from model_runtime.tokenizer import Tokenizer
from tests.model_runtime.conftest import TinyR1, collect, until

Ask = Callable[..., GenerationRequest]
QUESTIONS = (
    "What is the capital of France?",
    "Tell me a story about a dog.",
    "List five fruits.",
    "Why is the sky blue? " * 40,  # grows beyond the first width while it answers
    "How do I boil an egg?",
    "Who was Isaac Newton?",
)


@pytest.mark.parametrize("temperature", [pytest.param(0.0, marks=pytest.mark.full), 0.8])
async def test_an_answer_is_the_same_in_any_company(engine: SlotEngine, ask: Ask, temperature: float) -> None:
    """Alone, in a full batch and with staggered arrivals, every request gives the very same tokens."""

    def request(index: int, name: str) -> GenerationRequest:
        return ask(f"{name}{index}", QUESTIONS[index], temperature=temperature, top_p=0.95, seed=index)

    async def staggered(index: int) -> tuple[list[int], str | None]:
        before = engine.steps
        await until(lambda: engine.steps >= before + 2 * index)
        return await collect(engine, request(index, "s"))

    alone = [await collect(engine, request(i, "a")) for i in range(len(QUESTIONS))]
    together = await asyncio.gather(*(collect(engine, request(i, "b")) for i in range(len(QUESTIONS))))
    steady = asyncio.create_task(collect(engine, ask("steady", QUESTIONS[1], max_new_tokens=60, watch=False)))
    late = await asyncio.gather(*(staggered(i) for i in reversed(range(len(QUESTIONS)))))
    await steady
    assert list(together) == alone
    assert late[::-1] == alone
    assert (await engine.stats())["max_rows_in_a_step"] == 4


@pytest.mark.parametrize("cut", [pytest.param(1, marks=pytest.mark.full), 9, pytest.param(23, marks=pytest.mark.full)])
async def test_a_resumed_answer_goes_on_as_if_it_had_never_stopped(engine: SlotEngine, ask: Ask, cut: int) -> None:
    """Given the first tokens as prefix, the rest is the same to the last token, sampled, at a width's border too."""
    for index in (1, 3):
        whole = ask(f"w{cut}{index}", QUESTIONS[index], temperature=0.9, seed=5)
        ids, finish = await collect(engine, whole)
        rest = ask(f"r{cut}{index}", QUESTIONS[index], temperature=0.9, seed=5, prefix=tuple(ids[:cut]))
        assert await collect(engine, rest) == (ids, finish)


@pytest.mark.timeout(600)  # the first to come trains the tiny model
async def test_in_float32_an_answer_is_resumed_as_if_it_had_never_stopped(tiny_r1: TinyR1, tmp_path: Path) -> None:
    """Greedy and seeded, wherever it was cut, in company; the cache is in float32 too, and the digest is not that of
    the same checkpoint in bf16."""
    prepare_model(str(tiny_r1.checkpoint), name="tiny", method="fp32", folder=tmp_path)
    prompt = tiny_r1.tokenizer.encode(tiny_r1.tokenizer.apply_chat_template([{"role": "user", "content": "Why?"}]))
    described, cached = [], []
    for folder, temperatures in ((tmp_path / "tiny-fp32", (0.0, 0.9)), (tiny_r1.folders["bf16"], (0.0,))):
        engine = SlotEngine(folder, rows=3, widths=(64,), threads=1)
        await engine.start()
        for temperature in temperatures:
            settings = Sampling(max_new_tokens=24, temperature=temperature, seed=5, watch=False)
            whole = await collect(engine, GenerationRequest("whole", prompt, sampling=settings))
            cuts = [GenerationRequest(f"{cut}", prompt, tuple(whole[0][:cut]), settings) for cut in (1, 4, 9, 15, 23)]
            assert await asyncio.gather(*(collect(engine, cut) for cut in cuts)) == [whole] * len(cuts)
        described.append(await engine.describe())
        cached.append((await engine.stats())["cache_bytes"])
        await engine.close()
    assert [each.dtype for each in described] == ["float32", "bfloat16"]
    assert len({each.engine_digest for each in described}) == 2
    assert cached[0] == 2 * cached[1]


async def test_a_prefix_that_is_already_complete_only_ends(engine: SlotEngine, ask: Ask) -> None:
    """When an earlier attempt made all tokens, nothing is added and the finish is told."""
    ids, _ = await collect(engine, ask("f1", QUESTIONS[1], max_new_tokens=8))
    assert await collect(engine, ask("f2", QUESTIONS[1], max_new_tokens=8, prefix=tuple(ids))) == (ids, "length")


async def test_the_stop_token_ends_an_answer_and_is_not_part_of_it(engine: SlotEngine, ask: Ask) -> None:
    """The answer stops before its stop token, the model's own or one of the request's."""
    ids, finish = await collect(engine, ask("e1", QUESTIONS[0], max_new_tokens=60))
    assert finish == "stop"
    assert 2 not in ids
    stopped = ask("e2", QUESTIONS[0], max_new_tokens=60, stop_token_ids=(ids[3],))
    assert await collect(engine, stopped) == (ids[:3], "stop")


async def test_cancelling_frees_the_row_at_once(engine: SlotEngine, ask: Ask) -> None:
    """A cancelled answer ends with `cancelled` and its row is free; one that waits for a row never gets one."""
    streams = [engine.submit(ask(f"c{i}", QUESTIONS[1], max_new_tokens=200, watch=False)) for i in range(5)]
    first = [await anext(stream) for stream in streams[:4]]
    waiting = asyncio.create_task(anext(streams[4]))
    await until(lambda: len(engine._waiting) == 1)
    await engine.cancel("c4")
    event = await waiting
    assert (event.finish, event.token_ids) == ("cancelled", ())
    await engine.cancel("c0")
    assert [event async for event in streams[0]][-1].finish == "cancelled"
    capacity = await engine.capacity()
    assert (capacity.rows_busy, capacity.waiting, len(first)) == (3, 0, 4)
    for stream in streams[1:4]:
        await stream.aclose()
    await until(lambda: engine._batch.busy == 0)


async def test_a_prompt_that_fits_no_row_is_refused(engine: SlotEngine) -> None:
    """A prompt as long as the widest row, or an empty one, raises PromptTooLong and names the setting."""
    for prompt in ((7,) * 512, ()):
        with pytest.raises(PromptTooLong, match=r"model\.widths"):
            await collect(engine, GenerationRequest("long", prompt))


async def test_an_answer_ends_where_the_widest_row_ends(engine: SlotEngine, tokenizer: Tokenizer) -> None:
    """Prompt and answer together fill the widest row and no more."""
    prompt = tokenizer.encode("All work and no play. " * 100)[:505]
    ids, finish = await collect(engine, GenerationRequest("w", prompt, sampling=Sampling(max_new_tokens=99)))
    assert (len(ids), finish) == (7, "length")


async def test_an_answer_that_goes_in_circles_is_ended(engine: SlotEngine, tokenizer: Tokenizer) -> None:
    """A loop ends with `repetition`, and not when it is not watched for."""
    prompt = tokenizer.encode("la la la la " * 30)
    watched = await collect(engine, GenerationRequest("l1", prompt, sampling=Sampling(max_new_tokens=64)))
    free = await collect(engine, GenerationRequest("l2", prompt, sampling=Sampling(max_new_tokens=64, watch=False)))
    assert watched[1] == "repetition"
    assert free[1] == "length"
    assert free[0][: len(watched[0])] == watched[0]


async def test_reasoning_is_closed_when_its_budget_is_spent(engine: SlotEngine, ask: Ask, tokenizer: Tokenizer) -> None:
    """After the budget the closing tag stands, also when the answer is resumed in the middle of it."""
    request = ask("t1", QUESTIONS[1], thinking_budget=10, max_new_tokens=30)
    ids, _ = await collect(engine, request)
    closing = tokenizer.encode("\n</think>\n\n")
    assert tuple(ids[10 : 10 + len(closing)]) == closing
    resumed = ask("t2", QUESTIONS[1], thinking_budget=10, max_new_tokens=30, prefix=tuple(ids[:11]))
    assert (await collect(engine, resumed))[0] == ids


async def test_memory_for_one_sequence_alone_may_run_out(model_folder: Path, ask: Ask) -> None:
    """Where the cache cannot grow, that answer ends with `out_of_memory`; its neighbour is not touched."""
    pool_bytes = 2 * 30 * 2 * 3 * 256 * 64 * 2  # keys and values, layers, rows, kv heads, width, head dim, bf16
    engine = SlotEngine(model_folder, rows=2, widths=(256, 512), threads=1, cache_bytes=pool_bytes, max_waiting=1)
    await engine.start()
    try:
        long, short = await asyncio.gather(
            collect(engine, ask("o1", QUESTIONS[3], max_new_tokens=200, watch=False)),
            collect(engine, ask("o2", QUESTIONS[1], max_new_tokens=60, watch=False)),
        )
        assert long[1] == "out_of_memory"
        assert short == (short[0], "length")
        assert (await engine.capacity()).rows_busy == 0
        running = [engine.submit(ask(f"q{i}", QUESTIONS[1], watch=False)) for i in range(2)]
        for stream in running:
            await anext(stream)
        waiting = asyncio.create_task(collect(engine, ask("q2", QUESTIONS[0])))
        await until(lambda: len(engine._waiting) == 1)
        with pytest.raises(OutOfMemory, match="wait for a row"):
            await collect(engine, ask("q3", QUESTIONS[0]))
        for stream in running:
            await stream.aclose()
        await waiting
    finally:
        await engine.close()
    with pytest.raises(EngineLost):
        await collect(engine, ask("after", QUESTIONS[0]))


async def test_an_engine_without_a_model_does_not_start(tmp_path: Path) -> None:
    """A folder with no manifest raises ModelMissing."""
    with pytest.raises(ModelMissing, match="was not prepared"):
        await SlotEngine(tmp_path).start()


async def test_an_engine_says_what_decides_its_tokens(engine: SlotEngine, model_folder: Path) -> None:
    """The description names weights and shapes, and its digest is another one for other shapes."""
    description = await engine.describe()
    assert (description.rows, description.widths, description.quantization) == (4, (256, 512), "int8")
    other = SlotEngine(model_folder, rows=4, widths=(256,), threads=1)
    await other.start()
    assert (await other.describe()).engine_digest != description.engine_digest
    assert (await other.describe()).model_digest == description.model_digest
    await other.close()
