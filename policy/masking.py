"""Covers spans of a text."""

from __future__ import annotations

from collections.abc import Iterable

from dialogue.steps import Finding

__all__ = ["MASK", "mask", "replace_spans"]

MASK = "███"
"""What a covered span becomes, whatever its length: a mask that keeps the length tells too much."""


def mask(text: str, findings: Iterable[Finding]) -> str:
    """``text`` with each finding's span covered; spans that overlap or touch become one mask.

    The findings are used whatever their action; a span beyond the text is cut to it.
    """
    return replace_spans(text, [(finding.start, finding.end, MASK) for finding in findings])


def replace_spans(text: str, changes: Iterable[tuple[int, int, str]]) -> str:
    """``text`` with each ``(start, end, replacement)`` applied.

    Where spans overlap, or touch with the same replacement, they become one span with the replacement of the
    one that begins first, or of a mask among them. Empty spans change nothing.
    """
    pieces: list[str] = []
    done = 0
    for start, end, replacement in _merged(text, changes):
        pieces += (text[done:start], replacement)
        done = end
    return "".join((*pieces, text[done:]))


def _merged(text: str, changes: Iterable[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    merged: list[tuple[int, int, str]] = []
    for start, end, replacement in sorted((max(s, 0), min(e, len(text)), r) for s, e, r in changes):
        if start >= end:
            continue
        if merged:
            first, last, before = merged[-1]
            if start < last or (start == last and replacement == before == MASK):
                kept = MASK if MASK in (before, replacement) else before
                merged[-1] = (first, max(last, end), kept)
                continue
        merged.append((start, end, replacement))
    return merged
