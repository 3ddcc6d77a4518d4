"""Faults of the machinery for scripted steps: attempts that fail, hang or only heartbeat, and when each began."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

__all__ = ["Attempted", "ScriptedFaults"]

HEARTBEAT_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Attempted:
    """One attempt of an activity; ``at`` is the server's clock."""

    activity: str
    number: int
    at: datetime


@dataclass
class ScriptedFaults(Interceptor):
    """Each by activity: so many of its first attempts fail, are silent for ever, or heartbeat for ever."""

    failing: Mapping[str, int] = field(default_factory=dict[str, int])
    silent: Mapping[str, int] = field(default_factory=dict[str, int])
    beating: Mapping[str, int] = field(default_factory=dict[str, int])
    attempts: list[Attempted] = field(default_factory=list[Attempted])

    def waits(self, name: str) -> list[float]:
        """Seconds between the beginnings of an activity's attempts."""
        times = [attempt.at for attempt in self.attempts if attempt.activity == name]
        return [(after - before).total_seconds() for before, after in itertools.pairwise(times)]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (the SDK's name)
        return _Inbound(next, self)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, faults: ScriptedFaults) -> None:
        super().__init__(inner)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 (the SDK's name)
        info, faults = activity.info(), self._faults
        name, number = info.activity_type, info.attempt
        faults.attempts.append(Attempted(name, number, info.started_time))
        if number <= faults.failing.get(name, 0):
            raise ApplicationError("it is away", type="records-unavailable")
        if number <= faults.silent.get(name, 0):
            await asyncio.Event().wait()
        while number <= faults.beating.get(name, 0):
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)
        return await super().execute_activity(input)
