"""Heartbeats of a generation: small, of constant length, and the memory of its attempts.

The details name the attempt, how far it is, and every attempt before with what became of it, because Temporal's own
history keeps only the last one's worker and failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from temporalio import activity

from dialogue.base import Value
from dialogue.steps import Attempt

__all__ = ["GenerationProgress", "attempts_before", "heartbeating"]

KEPT = 8
"""Attempts that the details hold; of more, the first and the last ones."""


class GenerationProgress(Value):
    """The details of a heartbeat."""

    attempts: tuple[Attempt, ...]
    prompt_digest: str = ""
    engine_digest: str = ""


def attempts_before() -> tuple[Attempt, ...]:
    """The attempts before this one, as the last heartbeat told; one that never ended was lost with its worker."""
    info = activity.info()
    if not info.heartbeat_details:
        why = "lost: ended before its first heartbeat"
        return tuple(Attempt(number=number, worker="", started=0.0, failure=why) for number in range(1, info.attempt))[
            -KEPT:
        ]
    ended: list[Attempt] = []
    for attempt in GenerationProgress.model_validate(info.heartbeat_details[0]).attempts:
        if attempt.ended is None:
            lost = f"lost: no heartbeat after {attempt.tokens} tokens"
            ended.append(attempt.model_copy(update={"ended": time.time(), "failure": lost}))
        else:
            ended.append(attempt)
    return tuple(ended[:1] + ended[1:][-(KEPT - 2) :])


@asynccontextmanager
async def heartbeating(progress: Callable[[], GenerationProgress], seconds: float) -> AsyncGenerator[None]:
    """Sends ``progress()`` now, every ``seconds``, and once at the end, whatever the end is."""

    async def beat() -> None:
        while True:
            activity.heartbeat(progress())
            await asyncio.sleep(seconds)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        activity.heartbeat(progress())
