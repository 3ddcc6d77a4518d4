"""Heartbeats: that a step's worker lives, and of a generation its memory of attempts, small and of constant length.

The details of a generation name the attempt, how far it is, and every attempt before with what became of it, because
Temporal's own history keeps only the last one's worker and failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity

from dialogue.base import Value
from dialogue.steps import Attempt

__all__ = ["INTERVAL", "GenerationProgress", "attempts_before", "heartbeating", "in_failure", "living"]

INTERVAL = 0.2
"""Seconds between two heartbeats of a generation, here and on their way to the server. A cancel comes back with the
answer to a heartbeat and with nothing else, so this is how late it can arrive: docs/durability.md has what was
measured."""

KEPT = 8
"""Attempts that the details hold; of more, the first and the last ones."""


_OF_REASONS = 512
"""Bytes of all attempts' reasons in a failure."""


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


def in_failure(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """The attempts for the details of a failure, their reasons cut to what they may have of the 4 kB that the server
    keeps of one: in a longer one neither type nor message would be left."""
    most = _OF_REASONS // len(attempts)
    cut = (each.failure.encode()[:most].decode(errors="ignore") for each in attempts)
    return [each.model_dump() | {"failure": failure} for each, failure in zip(attempts, cut, strict=True)]


@asynccontextmanager
async def living() -> AsyncGenerator[None]:
    """Says that the worker lives, four times in the heartbeat timeout, for a step that is longer than that.

    So a killed worker is known after the heartbeat timeout and not only when the attempt's whole time is over. Not for
    a generation: a heartbeat without details would forget its attempts.
    """
    timeout = activity.info().heartbeat_timeout
    if timeout is None or activity.info().activity_type == "generate_answer":
        yield
        return

    async def beat(seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            activity.heartbeat()

    task = asyncio.create_task(beat(timeout.total_seconds() / 4))
    try:
        yield
    finally:
        task.cancel()


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
