"""An asynchronous generator whose next value can be waited for without losing it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any, Generic, TypeVar

__all__ = ["Pulled"]

AHEAD = 16
"""Values that may wait to be taken; then no more is asked for."""
Value = TypeVar("Value")


class Pulled(Generic[Value]):
    """Asks ``values`` for the next ones at once. Close it when done: that closes ``values`` too.

    One task asks for all of them: one a value, and a wait for it, would cost a stream more than all else does.
    """

    def __init__(self, values: AsyncGenerator[Value, None]) -> None:
        self._values = values
        self._there: deque[Value] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._pulling = asyncio.ensure_future(self._pull())
        self._pulling.add_done_callback(self.nudge)

    @property
    def ready(self) -> bool:
        """Whether :meth:`take` need not wait: the next value is there, or the end, or the fault in its place."""
        return bool(self._there) or self._pulling.done()

    async def wait(self, seconds: float | None = None) -> bool:
        """Until it is ready, so many seconds have passed, or :meth:`nudge`. Gives :attr:`ready`."""
        if not self.ready:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = None if seconds is None else loop.call_later(seconds, self.nudge)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        return self.ready

    def nudge(self, _: Any = None) -> None:
        """Ends a wait that is under way. Takes what a callback is called with."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def check(self) -> None:
        """Raises what ``values`` raised, where that is what comes next."""
        if not self._there and self._pulling.done():
            self._pulling.result()

    async def take(self) -> Value | None:
        """The next value; ``None`` at the end. Raises what ``values`` raises."""
        while not await self.wait():
            pass
        self.check()
        if not self._there:
            return None
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return self._there.popleft()

    async def aclose(self) -> None:
        self._pulling.cancel()
        await asyncio.wait({self._pulling})
        if not self._pulling.cancelled():
            self._pulling.exception()  # heard, so that asyncio does not log it as forgotten
        await self._values.aclose()

    async def _pull(self) -> None:
        async for value in self._values:
            self._there.append(value)
            self.nudge()
            if len(self._there) >= AHEAD:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
