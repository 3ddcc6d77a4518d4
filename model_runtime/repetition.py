"""Notices an answer that goes in circles while it flows: short blocks at every token, long ones now and then.

Both judge the token ids alone, so that a resumed answer is judged as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ParagraphWatch", "repeats"]

LONGEST_BLOCK = 48
LEAST_TIMES = 4
LEAST_SPAN = 32

GRAM = 16
CHECK_EVERY = 64
WINDOW = 256
LEAST_SHARE = 0.8


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


class ParagraphWatch:
    """Notices blocks of any length that are said a third time, also with a few words changed or others between.

    At every 64th token it looks at the last 256: where four fifths of them end a run of 16 tokens that stands at
    least twice before, the answer says nothing new any more. A refrain, the rows of a table, the boilerplate of
    code or the steps of a list come back too, but what stands between them does not. A block of ``n`` tokens is
    noticed by its third saying, about 2n + 270 tokens from where it began.

    ``border`` is the token that closes the reasoning: an answer may say what was drafted before, so it begins anew.

    Give it the whole answer each time; it takes in what is new. The verdict stays once it is given, and is a
    function of the ids alone. Measured on one core: 0.4 microseconds a token, 77 bytes a token (2.5 MB for 32,768).
    """

    def __init__(self, border: int | None = None) -> None:
        self._border = border
        self._counts: dict[int, int] = {}
        self._stale = bytearray()
        self._since = 0
        self._found = False

    def loops(self, ids: Sequence[int]) -> bool:
        """Whether ``ids``, which begin with those given before, had come to go in circles at a 64th token."""
        while not self._found and len(self._stale) + CHECK_EVERY <= len(ids):
            self._take(ids)
            recent = self._stale[self._since :][-WINDOW:]
            self._found = len(recent) == WINDOW and sum(recent) >= LEAST_SHARE * WINDOW
        return self._found

    def _take(self, ids: Sequence[int]) -> None:
        """The next 64 tokens: whether each ends a run that was said twice before."""
        counts, start = self._counts, len(self._stale)
        first = max(0, start + 1 - GRAM)
        window = tuple(ids[first : start + CHECK_EVERY])
        for end in range(start + 1, start + CHECK_EVERY + 1):
            if ids[end - 1] == self._border:
                counts.clear()
                self._since = end
            if end < GRAM:
                self._stale.append(0)
                continue
            key = hash(window[end - GRAM - first : end - first])
            before = counts.get(key, 0)
            counts[key] = before + 1
            self._stale.append(before >= 2)
