"""Memory that runs out costs nobody a token: the largest sequence waits, the limit of rows shrinks and grows again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model_runtime.cache import Place
from model_runtime.decoder import Decoder
from model_runtime.protocol import GenerationRequest
from model_runtime.row_limit import GROW_STEPS, RowLimit
from model_runtime.slot_engine import SlotEngine
from tests.model_runtime.conftest import collect, until

Ask = Callable[..., GenerationRequest]
QUESTIONS = ("What is rain?", "Name three colours of a rainbow.", "Why is the sky blue?", "Who wrote Faust?")


@given(st.integers(1, 64), st.lists(st.booleans()))
def test_the_limit_stays_between_one_and_all(rows: int, shortages: list[bool]) -> None:
    """Whatever happens."""
    limit = RowLimit(rows)
    for short in shortages:
        before = limit.now
        limit.step(short=short)
        assert 1 <= limit.now <= rows
        assert limit.now <= before + 1
        assert not short or limit.now == max(1, before // 2)


def test_the_limit_grows_a_row_at_a_time() -> None:
    """After so many steps without a shortage."""
    limit = RowLimit(8)
    limit.step(short=True)
    for _ in range(2 * GROW_STEPS):
        limit.step(short=False)
    assert limit.now == 6


@pytest.mark.full
async def test_a_shortage_costs_nobody_a_token(model_folder: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device with memory for two rows, while the engine has four: all answers are as if there had been enough."""
    engine = SlotEngine(model_folder, rows=4, widths=(256,), threads=1)
    await engine.start()
    decode, short = Decoder.decode, [True]

    def with_little_memory(
        self: Decoder, ids: list[int], lengths: list[int], places: list[Place | None], *, whole: bool
    ) -> Tensor:
        if short[0] and sum(place is not None for place in places) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
        return decode(self, ids, lengths, places, whole=whole)

    requests = [ask(f"m{n}", question, max_new_tokens=20 + n, watch=False) for n, question in enumerate(QUESTIONS)]
    try:
        undisturbed = [await collect(engine, request) for request in requests]
        monkeypatch.setattr(Decoder, "decode", with_little_memory)
        assert await asyncio.gather(*(collect(engine, request) for request in requests)) == undisturbed
        stats = await engine.stats()
        assert stats["put_back"] > 0
        assert stats["finished"].get("out_of_memory", 0) == 0
        assert (await engine.capacity()).rows_limit < 4
        short[0] = False
        stream = engine.submit(ask("long", "Tell me a long story.", max_new_tokens=220, watch=False, temperature=1.0))
        async for _ in stream:
            pass
        await until(lambda: engine._limit.now > 2)
    finally:
        await engine.close()
