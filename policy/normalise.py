"""Text as the model reads it, and as a word list matches it, each mapped back to the text as it came.

The clean form is NFKC without control, zero-width and bidi characters, with one kind of newline. The folded
form is made of its letters and digits only, caseless and simplified, repeats collapsed. Whatever is found in
either is reported as a span of the original.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from policy.folding import fold_character

__all__ = ["Folded", "Normalised", "is_plain", "joins_backwards", "normalise", "settled"]

_NEWLINES = frozenset("\n\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_REPLACEMENT = "\ufffd"
_VISIBLE_FORMATS = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
_INVISIBLE_RANGES = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0000, 0xE0FFF),
)
_PLAIN = re.compile(r"[\t\n -~]*\Z")


@dataclass(frozen=True, slots=True)
class Folded:
    """The form for matching. Character ``i`` of ``text`` stands for a run of equal characters.

    ``positions`` are the clean text's indices of the folded characters before repeats were collapsed;
    character ``i`` covers ``positions[runs[i]:runs[i + 1]]``.
    """

    text: str
    positions: tuple[int, ...]
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Normalised:
    """``text`` is the clean form; its character ``i`` came from ``original[starts[i]:ends[i]]``."""

    original: str
    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    folded: Folded

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original's span behind ``text[start:end]``; an empty one maps to an empty one."""
        if start >= end:
            at = self.starts[start] if start < len(self.starts) else len(self.original)
            return at, at
        return self.starts[start], self.ends[end - 1]

    def folded_span(self, start: int, end: int) -> tuple[int, int]:
        """The original's span behind ``folded.text[start:end]``, repeats included."""
        if start >= end:
            return self.span(0, 0)
        positions, runs = self.folded.positions, self.folded.runs
        return self.span(positions[runs[start]], positions[runs[end] - 1] + 1)


def normalise(text: str) -> Normalised:
    """Both forms of ``text``. The clean form is idempotent: ``normalise(n.text).text == n.text``."""
    if _PLAIN.match(text) or _is_clean(text):
        clean, starts, ends = text, tuple(range(len(text))), tuple(range(1, len(text) + 1))
    else:
        clean, starts, ends = _clean(text)
    return Normalised(text, clean, starts, ends, _fold(clean))


def is_plain(text: str) -> bool:
    """Whether it is ASCII that normalising leaves as it is; quick to tell."""
    return _PLAIN.match(text) is not None


def settled(text: str) -> int:
    """How much of ``text`` has its clean form, and the segments that make it, whatever comes behind it."""
    at = _base(text, len(text))
    if at < 0:
        return 0
    if any(map(_kept, text[at + 1 :])) or text[at] == "\r" or _may_compose(_kept(text[at])):
        before = _base(text, at)
        return before if text[at] == "\n" and text[before : before + 1] == "\r" else at
    return len(text)


def _base(text: str, end: int) -> int:
    """Where the last character before ``end`` stands that is seen and joins nothing before it; -1: there is none."""
    at = end - 1
    while at >= 0 and (not _kept(text[at]) or joins_backwards(_kept(text[at]))):
        at -= 1
    return at


@cache
def _may_compose(character: str) -> bool:
    """Whether what follows may make another character of it, or be ordered before a part of it."""
    parts = unicodedata.normalize("NFKD", character)
    return any(unicodedata.combining(c) or c in _first_halves() or 0x1100 <= ord(c) <= 0x1112 for c in parts)


def _is_clean(text: str) -> bool:
    """Whether each character is a segment of its own and stays as it is, whatever else stands in the text."""
    return unicodedata.is_normalized("NFKC", text) and all(_kept(c) == c and not joins_backwards(c) for c in text)


def _clean(text: str) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for segment, start, end in _segments(text):
        piece = unicodedata.normalize("NFKC", segment)
        pieces.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))
    return "".join(pieces), tuple(starts), tuple(ends)


def _segments(text: str) -> Iterator[tuple[str, int, int]]:
    """Stretches that NFKC changes independently of one another, without what is removed."""
    segment, start, end = "", 0, 0
    for index, character in _visible(text):
        if segment and not joins_backwards(character):
            yield segment, start, end
            segment = ""
        if not segment:
            start = index
        segment += character
        end = index + (2 if text[index : index + 2] == "\r\n" else 1)
    if segment:
        yield segment, start, end


def _visible(text: str) -> Iterator[tuple[int, str]]:
    after_return = False
    for index, character in enumerate(text):
        if after_return and character == "\n":
            after_return = False
            continue
        kept = _kept(character)
        if kept:
            after_return = character == "\r"
            yield index, kept


@cache
def _kept(character: str) -> str:
    """What stands for this character: itself, a newline, a replacement character, or nothing."""
    if character == "\r" or character in _NEWLINES:
        return "\n"
    if character == "\t":
        return character
    category = unicodedata.category(character)
    if category == "Cs":
        return _REPLACEMENT
    if category == "Cc" or (category == "Cf" and character not in _VISIBLE_FORMATS):
        return ""
    code = ord(character)
    return "" if any(first <= code <= last for first, last in _INVISIBLE_RANGES) else character


@cache
def joins_backwards(character: str) -> bool:
    """Whether normalisation may merge it with what stands before."""
    first = unicodedata.normalize("NFKD", character)[0]
    if unicodedata.combining(first) or first in _second_halves():
        return True
    return 0x1161 <= ord(first) <= 0x1175 or 0x11A8 <= ord(first) <= 0x11C2  # Hangul vowels and finals


@cache
def _second_halves() -> frozenset[str]:
    """Characters that end a canonical composition although they are no combining marks."""
    return frozenset(second for _, second in _compositions())


@cache
def _first_halves() -> frozenset[str]:
    """Characters that begin a canonical composition."""
    return frozenset(first for first, _ in _compositions())


@cache
def _compositions() -> frozenset[tuple[str, str]]:
    """The two characters that canonical compositions are made of; Hangul is composed by rule."""
    pairs: set[tuple[str, str]] = set()
    for code in range(0x20000):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            pairs.add((chr(int(parts[0], 16)), chr(int(parts[1], 16))))
    return frozenset(pairs)


def _fold(clean: str) -> Folded:
    characters: list[str] = []
    positions: list[int] = []
    runs: list[int] = []
    previous = ""
    for index, character in enumerate(clean):
        for folded in fold_character(character):
            if folded != previous:
                runs.append(len(positions))
                characters.append(folded)
                previous = folded
            positions.append(index)
    runs.append(len(positions))
    return Folded("".join(characters), tuple(positions), tuple(runs))
