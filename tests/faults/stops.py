"""Stops: before, in the middle of and after each step a worker tells the driver where it is and waits for its word.
Of a generation also while its prompt is taken in, after each token and at its end.

They are put around the product's own classes by the process that the tests start (:mod:`tests.faults.process`), so
that the product knows nothing of them. The driver is :class:`tests.faults.desk.Desk`; without one nothing waits.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, get_args

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.sampling import CandidateSampler
from activities.step_interceptor import StepInterceptor
from activities.stream_events import StreamEvents
from dialogue.messages import TurnKey
from dialogue.plan import StepName
from model_runtime.engine_client import ProcessEngine
from model_runtime.protocol import GenerationRequest, TokenEvent
from records.audit import AuditLog
from records.token_log_sqlite import SqliteTokenLog

__all__ = ["DESK", "MIDDLE", "PLACES", "STEPS", "WHENS", "after_token", "install"]

DESK = "FAULT_DESK"
"""The environment's name of the driver's Unix socket."""
STEPS: tuple[StepName, ...] = get_args(StepName)
WHENS = ("before", "middle", "after")
PLACES = ("prefill", "first", "middle", "late", "last")
"""Inside a generation: the engine has the request and gave no token; the first token was logged; the fourth; all but
one; all were logged, and the end was reported to nobody."""
MIDDLE = 4
"""The token after which a generation is in its middle: the small model's shortest answers have seven or eight."""


@dataclass(slots=True)
class _Place:
    """The step that this task is in. What is inside of it is told once."""

    pool: str
    step: str
    turn: TurnKey
    attempt: int
    told: frozenset[str] = frozenset()

    async def stop(self, when: str) -> None:
        line = {
            "pool": self.pool,
            "step": self.step,
            "when": when,
            "conversation": self.turn.conversation,
            "turn": self.turn.turn,
            "attempt": self.attempt,
            "pid": os.getpid(),
        }
        try:
            reader, writer = await asyncio.open_unix_connection(os.environ[DESK])
        except OSError:  # no driver (any more)
            return
        try:
            writer.write(json.dumps(line).encode() + b"\n")
            await reader.readline()
        except ConnectionError:
            pass
        finally:
            writer.close()


_here: ContextVar[_Place | None] = ContextVar("here", default=None)


async def _inside(when: str, *steps: str) -> None:
    place = _here.get()
    if place is not None and place.step in steps and when not in place.told:
        place.told |= {when}
        await place.stop(when)


class _Stopping(ActivityInboundInterceptor):
    """Outside of everything that the product puts around a step: its event, its faults, its time."""

    def __init__(self, inner: ActivityInboundInterceptor, pool: str) -> None:
        super().__init__(inner)
        self._pool = pool

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (the SDK's name)
        info = activity.info()
        turn = getattr(input.args[0], "turn", None) if input.args else None
        if info.activity_type not in STEPS or not isinstance(turn, TurnKey):
            return await super().execute_activity(input)
        place = _Place(self._pool, info.activity_type, turn, info.attempt)
        _here.set(place)
        await place.stop("before")
        result = await super().execute_activity(input)
        await place.stop("after")
        return result


def install() -> None:
    """Puts the stops into this process."""
    intercept = StepInterceptor.intercept_activity

    def with_stops(self: StepInterceptor, inner: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Stopping(intercept(self, inner), self.pool)

    StepInterceptor.intercept_activity = with_stops  # type: ignore[method-assign]
    # the middle: accepted and published; classified, found, reviewed in a thread; some tokens logged; the row kept
    _around(StreamEvents, "publish", lambda *a, **k: a[2] == "accepted", "receive_input")
    _around(asyncio, "to_thread", lambda *a, **k: True, "recognise_intent", "retrieve_knowledge", "review_answer")
    _around(SqliteTokenLog, "append_tokens", lambda *a, **k: a[5] + len(a[6]) >= MIDDLE, "generate_answer")
    SqliteTokenLog.append_tokens = _with_each_token(SqliteTokenLog.append_tokens)  # type: ignore[method-assign]
    _around(CandidateSampler, "_take", lambda *a, **k: a[1].finish is not None, "generate_answer", when="last")
    ProcessEngine.submit = _with_prefill(ProcessEngine.submit)  # type: ignore[method-assign, assignment]
    _around(AuditLog, "append", lambda *a, **k: True, "return_answer")


def _around(owner: Any, name: str, is_it: Callable[..., bool], *steps: str, when: str = "middle") -> None:
    """Once that coroutine function of ``owner`` has given its result, the step is at ``when``; just before its middle
    it is ``calling``."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(original)
    async def with_stops(*args: Any, **options: Any) -> Any:
        if not is_it(*args, **options):
            return await original(*args, **options)
        if when == "middle":
            await _inside("calling", *steps)
        result = await original(*args, **options)
        await _inside(when, *steps)
        return result

    setattr(owner, name, with_stops)


def after_token(count: int) -> str:
    """The stop of a generation whose log has got its ``count``-th token."""
    return f"token {count}"


def _with_each_token(append: Callable[..., Awaitable[int]]) -> Callable[..., Awaitable[int]]:
    @functools.wraps(append)
    async def with_stop(*args: Any, **options: Any) -> int:
        result = await append(*args, **options)
        await _inside(after_token(args[5] + len(args[6])), "generate_answer")
        return result

    return with_stop


def _with_prefill(submit: Callable[..., Any]) -> Callable[..., AsyncGenerator[TokenEvent]]:
    """Once the engine was sent the request, and before any token of it is taken, the generation is in its prefill."""

    @functools.wraps(submit)
    async def with_stop(self: ProcessEngine, request: GenerationRequest) -> AsyncGenerator[TokenEvent]:
        events = submit(self, request)
        first = asyncio.ensure_future(anext(events))
        try:
            await asyncio.sleep(0)  # the generator runs up to its wait for a token: the request is on its way
            await _inside("prefill", "generate_answer")
            yield await first
            async for event in events:
                yield event
        finally:
            first.cancel()
            await asyncio.wait([first])
            await events.aclose()  # which cancels at the engine what has not ended

    return with_stop
