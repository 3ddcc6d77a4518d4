"""One engine, kept: what a loss costs, who is told why it does not start, and how it comes back."""

from __future__ import annotations

import asyncio

import pytest

from dialogue.faults import EngineLost, ModelCorrupt, ModelFault
from model_runtime.keeper import EngineKeeper

LOST = EngineLost("the engine's process was ended by SIGKILL: see its log")


class Startable:
    """An engine of which only the life matters. ``wrong``: what its next start raises; ``open``: it may start."""

    def __init__(self) -> None:
        self.wrong: ModelFault | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.starts = 0
        self.closed = False

    async def start(self) -> None:
        self.starts += 1
        await self.open.wait()
        if self.wrong is not None:
            raise self.wrong

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine() -> Startable:
    return Startable()


@pytest.fixture
async def keeper(engine: Startable) -> EngineKeeper:
    keeper = EngineKeeper(engine)  # type: ignore[arg-type]
    await keeper.start()
    return keeper


async def test_a_lost_engine_is_started_again_once(engine: Startable, keeper: EngineKeeper) -> None:
    """However many sequences tell of one loss; whoever needs it waits for that start."""
    engine.open.clear()
    for _ in range(3):
        keeper.lost(LOST)
    waiting = [asyncio.create_task(keeper.ready()) for _ in range(3)]
    await asyncio.sleep(0)
    assert keeper.engine is None
    engine.open.set()
    assert await asyncio.gather(*waiting) == [engine] * 3
    assert (engine.starts, keeper.restarts) == (2, 1)
    assert keeper.engine is engine


async def test_why_it_does_not_start_is_told_to_all_who_wait(engine: Startable, keeper: EngineKeeper) -> None:
    """The fault is the start's own, not a timeout; nothing goes on trying behind their backs."""
    engine.wrong = ModelCorrupt("weights.safetensors differs from its manifest")
    engine.open.clear()
    keeper.lost(LOST)
    waiting = [asyncio.create_task(keeper.ready()) for _ in range(3)]
    await asyncio.sleep(0)
    engine.open.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert told == [engine.wrong] * 3
    assert engine.starts == 2


async def test_a_mended_model_is_used_by_the_next_who_needs_it(engine: Startable, keeper: EngineKeeper) -> None:
    """Each one who needs a broken engine has it started; once that works, it stays."""
    engine.wrong = ModelCorrupt("weights.safetensors differs from its manifest")
    keeper.lost(LOST)
    for _ in range(2):
        with pytest.raises(ModelCorrupt):
            await keeper.ready()
    engine.wrong = None
    assert await keeper.ready() is engine
    assert await keeper.ready() is engine
    assert (engine.starts, keeper.restarts) == (4, 1)


async def test_one_who_leaves_takes_the_start_from_nobody(engine: Startable, keeper: EngineKeeper) -> None:
    """A cancelled turn does not end the start that another one waits for."""
    engine.open.clear()
    keeper.lost(LOST)
    leaving, staying = asyncio.create_task(keeper.ready()), asyncio.create_task(keeper.ready())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    engine.open.set()
    assert await staying is engine


async def test_a_start_nobody_waits_for_is_ended_by_closing(engine: Startable, keeper: EngineKeeper) -> None:
    """A worker that stops does not wait for an engine that still loads."""
    engine.open.clear()
    keeper.lost(LOST)
    await asyncio.sleep(0)
    engine.closed = False
    await keeper.close()
    assert engine.closed
