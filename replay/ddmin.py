"""Delta debugging: the least of many things that still does it (Zeller and Hildebrandt, "Simplifying and Isolating
Failure-Inducing Input", 2002)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = ["ddmin"]

Item = TypeVar("Item")


def ddmin(items: Sequence[Item]) -> Generator[tuple[Item, ...], bool, tuple[Item, ...]]:
    """Yields a part of ``items``, in their order, and is sent whether that part alone does it; returns a part that does
    and of which no single item can be left out. All of them must do it; that is not asked. Nothing is asked twice.

    A generator, so that whoever drives it may take a second or a minute for each answer.
    """
    found: dict[tuple[int, ...], bool] = {}

    def does(part: tuple[int, ...]) -> Generator[tuple[Item, ...], bool, bool]:
        if part not in found:
            found[part] = yield tuple(items[place] for place in part)
        return found[part]

    kept, pieces = tuple(range(len(items))), 2
    while len(kept) >= 2:
        parts = _cut(kept, pieces)
        others = [tuple(place for place in kept if place not in part) for part in parts] if pieces > 2 else []
        for part in (*parts, *others):
            if (yield from does(part)):
                pieces = max(pieces - 1, 2) if part in others else 2
                kept = part
                break
        else:
            if pieces == len(kept):
                break
            pieces = min(pieces * 2, len(kept))
    if len(kept) == 1 and (yield from does(())):
        return ()
    return tuple(items[place] for place in kept)


def _cut(places: tuple[int, ...], pieces: int) -> list[tuple[int, ...]]:
    """Into so many parts of nearly the same length."""
    pieces = min(pieces, len(places))
    bounds = [len(places) * number // pieces for number in range(pieces + 1)]
    return [places[start:end] for start, end in pairwise(bounds)]
