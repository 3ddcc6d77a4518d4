"""What a process remembers for a short while, and at most so much of it."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["ShortMemory"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_MOST = 10_000


class ShortMemory(Generic[_Key, _Value]):
    """Each value is forgotten ``seconds`` after it was put there, or earlier where there are too many."""

    def __init__(self, seconds: float, most: int = _MOST) -> None:
        self._seconds, self._most = seconds, most
        self._held: OrderedDict[_Key, tuple[float, _Value]] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        found = self._held.get(key)
        if found is None:
            return None
        ends, value = found
        if time.monotonic() < ends:
            return value
        self.drop(key)
        return None

    def put(self, key: _Key, value: _Value) -> None:
        self._held[key] = (time.monotonic() + self._seconds, value)
        self._held.move_to_end(key)
        while len(self._held) > self._most:
            self._held.popitem(last=False)

    def drop(self, key: _Key) -> None:
        self._held.pop(key, None)

    def clear(self) -> None:
        self._held.clear()
