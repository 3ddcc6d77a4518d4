"""Text as this package sees it: sentences, languages by script, and characters folded for matching."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

__all__ = ["CJK", "Span", "fold", "language_of", "sentences", "size_of"]

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Han characters, as a range for a character class."""

_HAN = re.compile(f"[{CJK}]")
_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’\-][A-Za-z\u00c0-\u024f]+)*|\d+(?:[.,]\d+)*")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]{2,}")

_CLOSERS = r"[\"'”’»」』）)\]】》]*"
_MARKS = r"(?: ?\[\d{1,3}\])*"  # citations belong to the sentence before them
_BORDER = re.compile(
    rf"[。！？…]+{_CLOSERS}{_MARKS}"  # Chinese: no space follows
    rf"|[.!?]+{_CLOSERS}{_MARKS}(?=\s|$|[{CJK}])"
    r"|\n[ \t]*\n\s*"  # a new paragraph
    r"|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)、]|#{1,6}|\||>)[ \t]?)"  # a list item, heading, table row or quotation
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|approx|Inc|Ltd|Co|Corp|Gen|Col|Rev|Fig|cf|al)"
    r"|\b[Nn]o(?=\.\s*\d)|(?:^|[\s.(])[A-Z])\.$"
)
_ORDINAL_ITEM = re.compile(r"(?:^|\n)[ \t]*\d{1,3}\.$")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text: ``text[start:end]``."""

    start: int
    end: int


def sentences(text: str) -> list[Span]:
    """The sentences of an English, Chinese or mixed Markdown text, without the white space around them.

    List items, table rows, headings and paragraphs are sentences of their own, closed by a full stop or not.
    """
    found: list[Span] = []
    start = 0
    for border in _BORDER.finditer(text):
        if border.group().startswith(".") and not _ends_sentence(text, start, border):
            continue
        _append(found, text, start, border.end())
        start = border.end()
    _append(found, text, start, len(text))
    return found


def _ends_sentence(text: str, start: int, border: re.Match[str]) -> bool:
    before = text[max(start, border.start() - 12) : border.start() + 1]
    following = text[border.end() : border.end() + 3].lstrip()
    if _ORDINAL_ITEM.search(text[start : border.start() + 1]):
        return False
    if following[:1].islower():
        return False
    if re.search(r"\b[Nn]o\.$", before) and following[:1].isdigit():
        return False
    return not _ABBREVIATION.search(before)


def _append(found: list[Span], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        found.append(Span(start, end))


def size_of(text: str) -> float:
    """The length of a text in English words; two Chinese characters count as one word."""
    return len(_WORD.findall(text)) + len(_HAN.findall(text)) / 2


def language_of(text: str, default: str = "en") -> str:
    """``zh`` where Han characters outnumber Latin words, ``en`` where they do not, ``default`` without either."""
    han, latin = len(_HAN.findall(text)), len(_LATIN_WORD.findall(text))
    if not han and not latin:
        return default
    return "zh" if han > latin else "en"


def fold(text: str) -> str:
    """For matching only: NFKC, case-folded, traditional characters as simplified ones. Offsets may shift."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded.translate(_simplified()) if _HAN.search(folded) else folded


@functools.cache
def _simplified() -> dict[int, str]:
    # One character at a time: a table keeps lengths, and matching wants no choice of words.
    from opencc import OpenCC

    han = [chr(code) for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF)) for code in range(first, last + 1)]
    simplified = OpenCC("t2s").convert("\n".join(han)).split("\n")
    return {ord(old): new for old, new in zip(han, simplified, strict=True) if old != new and len(new) == 1}
