"""What comes one by one, taken in batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

__all__ = ["in_batches"]

T = TypeVar("T")


async def in_batches(items: AsyncIterator[T], size: int) -> AsyncGenerator[list[T]]:
    """``size`` each, the last one fewer; none where there are no items."""
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
