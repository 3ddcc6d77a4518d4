"""The tier token-exact, on a real engine: the same ids, or the first that differs; and what cannot be promised."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import cast

import pytest

from dialogue.faults import ContentMissing
from model_runtime.engine_identity import with_digest
from model_runtime.protocol import Engine, GenerationRequest, Sampling
from model_runtime.slot_engine import SlotEngine
from replay.tokens import promise, token_exact
from replay.try_record import TryRecord
from tests.model_runtime.conftest import TinyR1, tiny_r1
from tests.replay.watched import Watched

__all__ = ["tiny_r1"]


@pytest.fixture(scope="module")
async def engine(tiny_r1: TinyR1) -> AsyncIterator[SlotEngine]:
    engine = SlotEngine(tiny_r1.folders["int8"], rows=2, widths=(128, 256), threads=1)
    await engine.start()
    yield engine
    await engine.close()


async def _made(engine: SlotEngine, tiny: TinyR1, *, resumed_at: int = 0, most: int = 40) -> TryRecord:
    """A try as ``generate_answer`` records it, as if another attempt had made the first ``resumed_at`` tokens."""
    sampling = Sampling(temperature=0.8, top_p=0.95, seed=7, max_new_tokens=most, watch=False)
    prompt = tiny.tokenizer.encode("How long may I return shoes?")
    ids: list[int] = []
    async for event in engine.submit(GenerationRequest("made", prompt, (), sampling)):
        ids += event.token_ids
        finish = event.finish
    candidate = {"output_ids": ids, "sampling": asdict(sampling), "resumed_at": resumed_at, "finish": finish}
    return TryRecord.model_validate(
        {
            "prompt_ids": prompt,
            "prompt_digest": hashlib.sha256(json.dumps(list(prompt)).encode()).hexdigest(),
            "engine": asdict(await engine.describe()),
            "candidates": [candidate],
            "resume_points": [0, resumed_at] if resumed_at else [0],
        }
    )


async def test_a_resumed_try_is_made_in_the_same_parts(engine: SlotEngine, tiny_r1: TinyR1) -> None:
    """From the prompt alone, and from where the second attempt took over with what the first had made; each with the
    recorded seed and sampling."""
    record = await _made(engine, tiny_r1, resumed_at=3)
    (candidate,) = record.candidates
    asked: list[GenerationRequest] = []
    watched = cast("Engine", Watched(engine, asked.append))
    (exact,) = await token_exact(watched, tiny_r1.tokenizer, record, turn=1, try_number=1)
    assert (exact.state, exact.resumed_at) == ("same", 3)
    assert [request.prefix_ids for request in asked] == [(), candidate.output_ids[:3]]
    assert {request.prompt_ids for request in asked} == {record.prompt_ids}
    assert {request.sampling for request in asked} == {candidate.how}
    assert candidate.how.seed == 7


@pytest.mark.parametrize("resumed_at", [0, 3])
async def test_the_same_engine_gives_the_same_tokens(engine: SlotEngine, tiny_r1: TinyR1, resumed_at: int) -> None:
    """Also where a second attempt took over the tokens of the first; and that was promised beforehand."""
    record = await _made(engine, tiny_r1, resumed_at=resumed_at)
    (exact,) = await token_exact(engine, tiny_r1.tokenizer, record, turn=1, try_number=1)
    assert (exact.state, exact.same, exact.unpromised) == ("same", exact.tokens, ())
    assert exact.tokens > 3


async def test_the_first_difference_is_told_with_both_continuations(engine: SlotEngine, tiny_r1: TinyR1) -> None:
    """At its index, as text."""
    record = await _made(engine, tiny_r1)
    (candidate,) = record.candidates
    place = len(candidate.output_ids) // 2
    other = next(id_ for id_ in range(40, 60) if id_ != candidate.output_ids[place])
    ids = (*candidate.output_ids[:place], other, *candidate.output_ids[place + 1 :])
    forged = record.model_copy(update={"candidates": (candidate.model_copy(update={"output_ids": ids}),)})
    (exact,) = await token_exact(engine, tiny_r1.tokenizer, forged, turn=1, try_number=1)
    assert (exact.state, exact.same) == ("differs", place)
    assert exact.recorded != exact.today
    assert exact.recorded.split("⟦")[0] == exact.today.split("⟦")[0]


async def test_an_answer_that_the_reader_stopped_is_compared_up_to_there(engine: SlotEngine, tiny_r1: TinyR1) -> None:
    """What was cancelled, or drifted into another language, goes on when nobody stops it; that is no difference."""
    record = await _made(engine, tiny_r1)
    (candidate,) = record.candidates
    half = len(candidate.output_ids) // 2
    cut = candidate.model_copy(update={"output_ids": candidate.output_ids[:half], "finish": "wrong_language"})
    stopped = record.model_copy(update={"candidates": (cut,)})
    (exact,) = await token_exact(engine, tiny_r1.tokenizer, stopped, turn=1, try_number=1)
    assert (exact.state, exact.same) == ("same", half)


async def test_a_changed_prompt_is_not_run(engine: SlotEngine, tiny_r1: TinyR1) -> None:
    """Its digest says that it is another."""
    record = await _made(engine, tiny_r1)
    changed = record.model_copy(update={"prompt_ids": record.prompt_ids[1:]})
    (exact,) = await token_exact(engine, tiny_r1.tokenizer, changed, turn=1, try_number=1)
    assert (exact.state, "was changed" in exact.why) == ("unchecked", True)


async def test_what_cannot_be_promised_is_named(engine: SlotEngine, tiny_r1: TinyR1) -> None:
    """Other weights, hardware, shapes, library versions, and servers that others run."""
    record, today = await _made(engine, tiny_r1), await engine.describe()
    assert promise(record, today) == ()
    other = with_digest(dataclasses.replace(today, device="cuda:0", dtype="float64"))
    assert set(promise(record, other)) == {
        f"dtype: {today.dtype} when recorded, float64 now",
        "device: cpu when recorded, cuda:0 now",
    }
    (reason,) = promise(record, dataclasses.replace(today, model_digest="0" * 64))
    assert "the weights are others" in reason
    reasons = promise(record, with_digest(dataclasses.replace(today, mode="remote", token_ids="text")))
    assert {"the token ids were made from text", "mode: eager when recorded, remote now"} <= set(reasons)


def test_what_is_no_try_record_is_said_to_be_none() -> None:
    """A digest may name anything."""
    with pytest.raises(ContentMissing, match="is no try record"):
        TryRecord.of("d", b"[]")
