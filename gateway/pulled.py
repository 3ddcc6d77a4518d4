"""An asynchronous generator whose next value can be waited for without losing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

__all__ = ["Pulled"]

Value = TypeVar("Value")


class Pulled(Generic[Value]):
    """Asks ``values`` for the next one at once. Close it when done: that closes ``values`` too."""

    def __init__(self, values: AsyncGenerator[Value, None]) -> None:
        self._values = values
        self.coming: asyncio.Future[Value | None] = asyncio.ensure_future(anext(values, None))
        """The next value; ``None`` at the end."""

    async def wait(self, seconds: float | None) -> bool:
        """Whether the next value is there, or the fault in its place, within so many seconds."""
        await asyncio.wait({self.coming}, timeout=seconds)
        return self.coming.done()

    async def take(self) -> Value | None:
        """The next value, and the one behind it is asked for. Raises what ``values`` raises."""
        value = await asyncio.shield(self.coming)
        if value is not None:
            self.coming = asyncio.ensure_future(anext(self._values, None))
        return value

    async def aclose(self) -> None:
        self.coming.cancel()
        await asyncio.wait({self.coming})
        if not self.coming.cancelled():
            self.coming.exception()  # heard, so that asyncio does not log it as forgotten
        await self._values.aclose()
