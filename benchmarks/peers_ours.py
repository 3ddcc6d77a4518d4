"""Our engine as a candidate, through its process's own protocol."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.engine import start_engine
from benchmarks.peers_timing import Ask
from benchmarks.peers_work import Work
from model_runtime.protocol import GenerationRequest, Sampling

if TYPE_CHECKING:
    from model_runtime.engine_client import ProcessEngine

__all__ = ["asking", "our_engine"]


@asynccontextmanager
async def our_engine(folder: Path, rows: int) -> AsyncIterator[Ask]:
    """Warm, all cores its own."""
    async with AsyncExitStack() as stack:
        yield asking(await start_engine(folder, rows, stack))


def asking(engine: ProcessEngine) -> Ask:
    """Greedy; an answer that says it is at its end ends there, for our engine knows no other way. Fewer tokens are
    then counted for it."""
    numbers = itertools.count()

    async def ask(work: Work, tick: Callable[[], None]) -> int:
        sampling = Sampling(max_new_tokens=work.tokens, watch=False)
        made = 0
        async for event in engine.submit(GenerationRequest(f"peer-{next(numbers)}", work.prompt, sampling=sampling)):
            if event.token_ids:
                made += len(event.token_ids)
                tick()
        return made

    return ask
