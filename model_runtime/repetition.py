"""Notices an answer that goes in circles while it flows."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["repeats"]

LONGEST_BLOCK = 48
LEAST_TIMES = 4
LEAST_SPAN = 32


def repeats(ids: Sequence[int]) -> bool:
    """Whether ``ids`` ends in one block of at most 48 tokens said at least four times over, 32 tokens or more.

    A function of the ids alone, so a resumed answer is judged as if it had never stopped. Both bounds are needed:
    a row of a table or a list of short items repeats little, a loop never ends.
    """
    count = len(ids)
    for block in range(1, LONGEST_BLOCK + 1):
        span = max(LEAST_SPAN, LEAST_TIMES * block)
        if span > count:
            return False
        if all(ids[-1 - i] == ids[-1 - i - block] for i in range(span - block)):
            return True
    return False
