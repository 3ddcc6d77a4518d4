"""What every engine promises, whatever computes behind it: one suite, held against each."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dialogue.faults import EngineLost, InvalidRequest, PromptTooLong
from model_runtime.engine_client import ProcessEngine
from model_runtime.openai_engine import OpenAIEngine
from model_runtime.prepare import prepare_model
from model_runtime.protocol import Engine, GenerationRequest, Sampling
from model_runtime.quantize import Method
from model_runtime.slot_engine import SlotEngine
from model_runtime.tokenizer import Tokenizer
from tests.model_runtime.conftest import collect, until
from tests.support.completions_server import Behaviour, completions_server
from tests.support.llama_server import llama_server
from tests.support.tiny_model import tiny_model
from tests.support.vllm_server import vllm_python, vllm_server

LONGEST = 128
ROWS = 4


@dataclass(frozen=True)
class Subject:
    """An engine that runs, and what it promises beyond the protocol: ``resumes_alike`` that an answer taken up
    elsewhere has the tokens it would have had, ``any_company`` that it has them whoever shares the batch, ``logprobs``
    that it tells how likely each token was. ``outruns``: the tiny model may be at its end before a cancel arrives."""

    engine: Engine
    tokenizer: Tokenizer
    resumes_alike: bool = True
    any_company: bool = True
    logprobs: bool = True
    outruns: bool = False

    def ask(self, id_: str, text: str = "abc what", *, prefix: tuple[int, ...] = (), **sampling: object):
        settings = Sampling(**{"max_new_tokens": 16, "watch": False, **sampling})  # type: ignore[arg-type]
        return GenerationRequest(id_, self.tokenizer.encode(text), prefix, settings)

    async def is_idle(self) -> bool:
        capacity = await self.engine.capacity()
        return (capacity.rows_busy, capacity.waiting) == (0, 0)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    prepare_model(str(tiny_model(folder / "checkpoint")), name="tiny", method="bf16", folder=folder)
    return folder / "tiny-bf16"


async def _slot(folder: Path) -> AsyncIterator[Subject]:
    engine = SlotEngine(folder, rows=ROWS, widths=(64, LONGEST), threads=1)
    await engine.start()
    yield Subject(engine, Tokenizer.load(folder))
    await engine.close()


def _slot_of(method: Method) -> Callable[[Path], AsyncIterator[Subject]]:
    """The same engine on quantized weights: every promise holds for them, too."""

    def subject(folder: Path) -> AsyncIterator[Subject]:
        prepare_model(str(folder.parent / "checkpoint"), name="tiny", method=method, folder=folder.parent)
        return _slot(folder.parent / f"tiny-{method}")

    return subject


async def _process(folder: Path) -> AsyncIterator[Subject]:
    engine = ProcessEngine(folder, rows=ROWS, widths=(64, LONGEST), threads=1, log_file=folder.parent / "engine.log")
    await engine.start()
    yield Subject(engine, Tokenizer.load(folder))
    await engine.close()


async def _openai(folder: Path, *, ids: bool = True) -> AsyncIterator[Subject]:
    with completions_server(folder) as server:
        await server.behave(Behaviour(ids=ids))
        engine = OpenAIEngine(folder, base_url=server.url, rows=ROWS, widths=(64, LONGEST))
        await engine.start()
        yield Subject(engine, Tokenizer.load(folder), resumes_alike=False, logprobs=ids)
        await engine.close()


def _openai_text(folder: Path) -> AsyncIterator[Subject]:
    return _openai(folder, ids=False)


async def _vllm(folder: Path) -> AsyncIterator[Subject]:
    log = folder.parent / "vllm.log"
    options = {"rows": ROWS, "widths": (64, LONGEST), "threads": 1, "start_seconds": 170.0, "log_file": log}
    engine = ProcessEngine(folder, python=vllm_python(), engine="vllm", arguments={"enforce_eager": True}, **options)
    await engine.start()
    yield Subject(engine, Tokenizer.load(folder), resumes_alike=False, any_company=False)
    await engine.close()


async def _vllm_server(folder: Path) -> AsyncIterator[Subject]:
    with vllm_server(folder.parent / "checkpoint", longest=LONGEST, rows=ROWS) as url:
        engine = OpenAIEngine(folder, base_url=url, rows=ROWS, widths=(64, LONGEST))
        await engine.start()
        assert (await engine.describe()).token_ids == "drawn"
        yield Subject(engine, Tokenizer.load(folder), resumes_alike=False, any_company=False)
        await engine.close()


async def _llama_server(folder: Path) -> AsyncIterator[Subject]:
    with llama_server(folder.parent / "checkpoint", longest=LONGEST, rows=ROWS) as url:
        engine = OpenAIEngine(folder, base_url=url, rows=ROWS, widths=(64, LONGEST))
        await engine.start()
        assert (await engine.describe()).token_ids == "text"
        promised = {"resumes_alike": False, "any_company": False, "logprobs": False, "outruns": True}
        yield Subject(engine, Tokenizer.load(folder), **promised)
        await engine.close()


_ENGINES: dict[str, Callable[[Path], AsyncIterator[Subject]]] = {
    "slot": _slot,
    "slot-fp32": _slot_of("fp32"),
    "slot-int8": _slot_of("int8"),
    "slot-int4": _slot_of("int4"),
    "process": _process,
    "openai": _openai,
    "openai-text": _openai_text,
    "vllm": _vllm,
    "vllm-server": _vllm_server,
    "llama-server": _llama_server,
}
_OF_OTHERS = ("vllm", "vllm-server", "llama-server")
_PARAMS = [pytest.param(name, marks=[pytest.mark.full] if name in _OF_OTHERS else []) for name in _ENGINES]


@pytest.fixture(scope="module", params=_PARAMS)
async def subject(request: pytest.FixtureRequest, tiny_folder: Path) -> AsyncIterator[Subject]:
    async for each in _ENGINES[request.param](tiny_folder):
        yield each


# answers


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_an_answer_has_the_length_that_was_asked_for(subject: Subject, temperature: float) -> None:
    """Offsets are contiguous (`collect` holds them so), exactly `max_new_tokens` come, and the finish says why."""
    for length in (1, 2, 15):
        ids, finish = await collect(
            subject.engine, subject.ask(f"l{length}", max_new_tokens=length, temperature=temperature, seed=7)
        )
        assert (len(ids), finish) == (length, "length")
        described = await subject.engine.describe()
        assert all(0 <= id_ < described.vocabulary for id_ in ids)


async def test_only_the_last_event_has_a_finish(subject: Subject) -> None:
    """Every event names its answer; none follows the one that ends it."""
    events = [event async for event in subject.engine.submit(subject.ask("last"))]
    assert {event.id for event in events} == {"last"}
    assert [event.finish for event in events[:-1]] == [None] * (len(events) - 1)
    assert events[-1].finish == "length"


async def test_a_stop_token_ends_an_answer_and_is_not_part_of_it(subject: Subject) -> None:
    """The answer ends before the first of the request's stop tokens."""
    whole, _ = await collect(subject.engine, subject.ask("s1"))
    stop = whole[5]
    stopped, finish = await collect(subject.engine, subject.ask("s2", stop_token_ids=(stop,)))
    assert (stopped, finish) == (whole[: whole.index(stop)], "stop")


async def test_a_stop_that_never_comes_changes_nothing(subject: Subject) -> None:
    """The answer has its length and its tokens, as if none had been asked for."""
    whole, _ = await collect(subject.engine, subject.ask("n1"))
    never = tuple(sorted(set(range(5, 128)) - set(whole)))
    assert await collect(subject.engine, subject.ask("n2", stop_token_ids=never)) == (whole, "length")


async def test_the_same_seed_gives_the_same_answer(subject: Subject) -> None:
    """Sampled tokens are decided by the seed, and another seed gives others."""
    asked = {name: subject.ask(name, temperature=1.0, seed=seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))}
    first, same, other = [await collect(subject.engine, request) for request in asked.values()]
    assert first == same
    assert first != other


async def test_more_requests_than_rows_are_all_answered(subject: Subject) -> None:
    """Those beyond the rows wait; each gets what it would have got alone."""
    alone = [await collect(subject.engine, subject.ask(f"one{i}", f"question {i}", seed=i)) for i in range(6)]
    together = await asyncio.gather(
        *(collect(subject.engine, subject.ask(f"many{i}", f"question {i}", seed=i)) for i in range(6))
    )
    assert together == alone or not subject.any_company
    assert [finish for _, finish in together] == ["length"] * 6
    assert 1 <= (await subject.engine.stats())["max_rows_in_a_step"] <= ROWS


async def test_prompt_and_answer_fill_the_widest_row_and_no_more(subject: Subject) -> None:
    """An answer ends where the row ends, with `length`."""
    request = GenerationRequest("wide", (40,) * (LONGEST - 7), sampling=Sampling(max_new_tokens=99, watch=False))
    ids, finish = await collect(subject.engine, request)
    assert (len(ids), finish) == (7, "length")


async def test_an_answer_that_goes_in_circles_is_ended(subject: Subject) -> None:
    """A loop ends with `repetition` where it is watched for, and else at its length."""
    asked = {"max_new_tokens": 90, "temperature": 0.0}
    free = await collect(subject.engine, subject.ask("free", "00000000", **asked))
    watched = await collect(subject.engine, subject.ask("watched", "00000000", watch=True, **asked))
    assert (free[1], watched[1]) == ("length", "repetition")
    assert watched[0] == free[0][: len(watched[0])]


async def test_how_likely_each_token_was_is_told_to_who_asks(subject: Subject) -> None:
    """Natural logarithms as the model has them, one a token, whatever the temperature: the likeliest has the greatest.
    Where nobody tells they are None; who does not ask gets none."""
    unasked = [event async for event in subject.engine.submit(subject.ask("unasked"))]
    assert {event.logprobs for event in unasked} == {None}
    told: dict[float, list[float | None]] = {}
    for temperature in (0.0, 2.0):
        asked = subject.ask(f"likely {temperature}", logprobs=True, temperature=temperature, seed=3, max_new_tokens=8)
        events = [event async for event in subject.engine.submit(asked)]
        assert all(len(event.logprobs or ()) == len(event.token_ids) for event in events)
        told[temperature] = [one for event in events for one in event.logprobs or ()]
    if not subject.logprobs:
        assert set(told[0.0]) == {None}
        return
    greedy, random = ([one for one in values if one is not None] for values in told.values())
    assert len(greedy) == len(random) == 8
    assert all(-20 < one <= 0 for one in greedy + random)
    assert sum(greedy) > sum(random)


# resuming


async def test_an_answer_goes_on_after_its_prefix(subject: Subject) -> None:
    """Given the first tokens, the rest comes within the same bound, the same where the engine promises that."""
    request = subject.ask("r0", temperature=1.0, seed=5)
    whole, _ = await collect(subject.engine, request)
    resumed, finish = await collect(subject.engine, dataclasses.replace(request, id="r1", prefix_ids=tuple(whole[:9])))
    assert resumed[:9] == whole[:9]
    assert (len(resumed), finish) == (16, "length") or finish == "stop"
    assert resumed == whole or not subject.resumes_alike
    again = await collect(subject.engine, dataclasses.replace(request, id="r2", prefix_ids=tuple(whole[:9])))
    assert again == (resumed, finish)


async def test_a_prefix_that_is_already_complete_only_ends(subject: Subject) -> None:
    """Nothing is added to an answer that an earlier attempt had finished."""
    whole, _ = await collect(subject.engine, subject.ask("p0"))
    assert await collect(subject.engine, subject.ask("p1", prefix=tuple(whole))) == (whole, "length")


# the thinking budget


@pytest.mark.parametrize("budget", [0, 6])
async def test_reasoning_is_closed_when_its_budget_is_spent(subject: Subject, budget: int) -> None:
    """The closing ids stand where the budget ends, also when the answer is resumed in the middle of them."""
    closing = subject.tokenizer.encode("\n</think>\n\n")
    request = subject.ask("t0", thinking_budget=budget, max_new_tokens=20)
    whole, finish = await collect(subject.engine, request)
    assert tuple(whole[budget : budget + len(closing)]) == closing
    assert (len(whole), finish) == (20, "length")
    cut = budget + 2
    resumed, _ = await collect(subject.engine, dataclasses.replace(request, id="t1", prefix_ids=tuple(whole[:cut])))
    assert resumed[: budget + len(closing)] == whole[: budget + len(closing)]
    assert len(resumed) == 20


async def test_reasoning_that_was_closed_in_time_is_left_alone(subject: Subject) -> None:
    """No closing ids follow where the tag stands already."""
    closing = subject.tokenizer.encode("</think>")
    request = subject.ask("t2", prefix=(60, *closing), thinking_budget=4, max_new_tokens=12)
    ids, _ = await collect(subject.engine, request)
    free, _ = await collect(subject.engine, subject.ask("t3", prefix=(60, *closing), max_new_tokens=12))
    assert ids == free


# leaving


async def test_leaving_the_iteration_frees_the_row(subject: Subject) -> None:
    """A reader that goes away takes nothing with it: its row is free and its id may be used again."""
    stream = subject.engine.submit(subject.ask("left", max_new_tokens=100))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await until(subject.is_idle)
    assert (await collect(subject.engine, subject.ask("left")))[1] == "length"


async def test_cancelling_ends_an_answer_with_its_own_finish(subject: Subject) -> None:
    """`cancel` ends a running answer and one that waits for a row; of an unknown id it makes nothing."""
    streams = [subject.engine.submit(subject.ask(f"c{i}", max_new_tokens=100)) for i in range(ROWS)]
    made = [await anext(stream) for stream in streams]
    waiting = asyncio.create_task(collect(subject.engine, subject.ask("waits", max_new_tokens=100)))
    await until(lambda: _waits(subject))
    await subject.engine.cancel("nobody")
    await subject.engine.cancel("waits")
    assert await waiting == ([], "cancelled")
    await subject.engine.cancel("c0")
    offset = made[0].start + len(made[0].token_ids)
    async for event in streams[0]:
        assert event.start == offset
        offset += len(event.token_ids)
    assert event.finish == "cancelled" or (subject.outruns and event.finish == "length")
    for stream in streams[1:]:
        await stream.aclose()  # type: ignore[attr-defined]
    await until(subject.is_idle)
    assert (await subject.engine.stats())["cancelled"] >= 1 + (event.finish == "cancelled")


async def _waits(subject: Subject) -> bool:
    return (await subject.engine.capacity()).waiting == 1


# what is refused


async def test_an_id_that_runs_already_is_refused(subject: Subject) -> None:
    """The second request of one id is refused, and the first goes on."""
    first = subject.engine.submit(subject.ask("twice", max_new_tokens=30))
    made = list((await anext(first)).token_ids)
    with pytest.raises(InvalidRequest, match="runs already"):
        await collect(subject.engine, subject.ask("twice"))
    async for event in first:
        made += event.token_ids
    assert len(made) == 30


_FALSE = {
    "temperature": (float("nan"), float("inf"), -0.1),
    "top_p": (0.0, -1.0, 1.01, float("nan")),
    "seed": (-1, 2**63),
    "max_new_tokens": (0, -5),
    "thinking_budget": (-1,),
    "stop_token_ids": ((-1,), (5, 10**9)),
    "end_of_thinking_ids": ((10**9,),),
}


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, values in _FALSE.items() for value in values])
async def test_a_value_that_cannot_be_used_is_refused_by_its_name(subject: Subject, field: str, value: object) -> None:
    """One line names the field and the value; nothing reaches the batch."""
    with pytest.raises(InvalidRequest, match=rf"^sampling\.{field}") as caught:
        await collect(subject.engine, subject.ask("false", **{field: value}))
    assert caught.value.field == f"sampling.{field}"
    assert "\n" not in caught.value.message
    assert await subject.is_idle()


async def test_a_prompt_that_fits_no_row_is_refused(subject: Subject) -> None:
    """One without room for an answer, or an empty one, raises PromptTooLong and names the setting."""
    for prompt in ((7,) * LONGEST, (7,) * (10 * LONGEST), (7,) * 100_000, ()):
        with pytest.raises(PromptTooLong, match=r"model\.widths"):
            await collect(subject.engine, GenerationRequest("long", prompt))


async def test_ids_out_of_the_vocabulary_are_refused_and_touch_nobody(subject: Subject) -> None:
    """The line names place and id; an answer beside it is what it was alone."""
    alone = await collect(subject.engine, subject.ask("alone", max_new_tokens=30))
    neighbour = asyncio.create_task(collect(subject.engine, subject.ask("neighbour", max_new_tokens=30)))
    vocabulary = (await subject.engine.describe()).vocabulary
    for prompt, prefix, told in (
        ((5, vocabulary), (), rf"prompt_ids\[1\]: {vocabulary} is no token"),
        ((-1,), (), r"prompt_ids\[0\]: -1 is no token"),
        ((5,), (6, 10**12), rf"prefix_ids\[1\]: {10**12} is no token"),
    ):
        with pytest.raises(InvalidRequest, match=told):
            await collect(subject.engine, GenerationRequest("foreign", prompt, prefix))
    assert await neighbour == alone or (not subject.any_company and len(neighbour.result()[0]) == 30)


# what an engine says of itself


async def test_an_engine_describes_itself(subject: Subject) -> None:
    """Capacity, description and counters have their shapes, and the description can be kept as JSON."""
    description = await subject.engine.describe()
    assert json.loads(json.dumps(dataclasses.asdict(description)))["model"] == "tiny"
    assert (description.rows, description.widths[-1], description.vocabulary) == (ROWS, LONGEST, 128)
    assert description.eos_token_ids == (2,)
    assert {len(description.engine_digest), len(description.model_digest)} == {64}
    assert await subject.engine.describe() == description
    capacity = await subject.engine.capacity()
    assert (capacity.rows, capacity.rows_busy, capacity.longest_width) == (ROWS, 0, LONGEST)
    assert capacity.free_bytes >= 0
    before = await subject.engine.stats()
    await collect(subject.engine, subject.ask("counted"))
    after = await subject.engine.stats()
    assert set(after) >= {"rows_in_steps", "max_rows_in_a_step", "cancelled"}
    assert after["requests"] == before["requests"] + 1
    assert after["tokens"] == before["tokens"] + 16
    assert after["prefill_tokens"] == before["prefill_tokens"] + 8
    assert after["steps"] > before["steps"]
    assert after["finished"]["length"] == before["finished"]["length"] + 1


async def test_closing_ends_all_and_a_start_begins_anew(subject: Subject) -> None:
    """Whoever still reads gets EngineLost, and so does who asks a closed engine; after a start it answers alike."""
    before, description = await collect(subject.engine, subject.ask("before")), await subject.engine.describe()
    stream = subject.engine.submit(subject.ask("open", max_new_tokens=100))
    await anext(stream)
    reader = asyncio.create_task(_read(stream))
    await subject.engine.close()
    with pytest.raises(EngineLost, match="closed"):
        await reader
    with pytest.raises(EngineLost, match=r"closed|start it"):
        await collect(subject.engine, subject.ask("after"))
    await subject.engine.close()
    await subject.engine.start()
    assert await collect(subject.engine, subject.ask("again")) == before
    assert await subject.engine.describe() == description


async def _read(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass
