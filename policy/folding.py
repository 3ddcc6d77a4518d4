"""One character's form for matching: caseless, without diacritics, simplified, or nothing at all.

Every step looks at a single character and never at its neighbours, so that a word folds alike whether it
stands in a list, in a text, or with marks between its characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

__all__ = ["convert_script", "fold_character", "is_ideograph"]

_DIACRITICS = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF))
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2EBEF),
    (0x2F800, 0x2FA1F),
    (0x30000, 0x323AF),
)
_TO_TRADITIONAL = ("s2t", "s2tw", "s2hk")


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in ranges)


@cache
def is_ideograph(character: str) -> bool:
    """Whether it is a Han character (of which words are written without spaces)."""
    return _within(character, _IDEOGRAPHS)


@cache
def fold_character(character: str) -> str:
    """The folded form of one NFKC character: empty for punctuation, symbols, spaces and diacritics."""
    decomposed = unicodedata.normalize("NFD", character.casefold())
    bare = "".join(c for c in decomposed if not _within(c, _DIACRITICS))
    simplified = "".join(_simplified().get(c, c) for c in unicodedata.normalize("NFC", bare))
    return "".join(c for c in simplified if unicodedata.category(c)[0] in "LNM")


@cache
def _simplified() -> dict[str, str]:
    """Han character -> the one that stands for all its variants: simplified, Taiwan's and Hong Kong's.

    Characters that OpenCC's tables take to each other, in whatever direction, share one representative, which
    makes the mapping idempotent.
    """
    codes = (code for first, last in _IDEOGRAPHS[:4] for code in range(first, last + 1))
    characters = [chr(code) for code in codes]
    leader: dict[str, str] = {}

    def find(character: str) -> str:
        while character in leader:
            character = leader[character]
        return character

    for direction in ("t2s", *_TO_TRADITIONAL):
        pairs = zip(characters, convert_script(characters, direction), strict=True)
        for before, after in [(one, other) for one, other in pairs if one != other and len(other) == 1]:
            other, kept = find(before), find(after)
            if direction in _TO_TRADITIONAL:
                other, kept = kept, other
            if other != kept:
                leader[other] = kept
    return {character: find(character) for character in leader}


def convert_script(texts: Sequence[str], direction: str) -> list[str]:
    """Each text converted by OpenCC: ``t2s`` to simplified, ``s2t``, ``s2tw``, ``s2hk`` to traditional.

    OpenCC converts whole phrases; a line to each text keeps it from seeing the next one.
    """
    if not texts:
        return []
    lines = "\n".join(texts)
    if lines.count("\n") >= len(texts):
        lines = "\n".join(text.replace("\n", " ") for text in texts)
    return _converter(direction)(lines).split("\n")


@cache
def _converter(direction: str) -> Callable[[str], str]:
    """Kept, because reading OpenCC's tables takes a while."""
    import opencc

    return cast("Callable[[str], str]", cast("Any", opencc.OpenCC(direction)).convert)
