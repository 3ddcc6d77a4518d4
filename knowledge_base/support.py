"""How much of a sentence stands in a passage, and where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dialogue.steps import Passage
from knowledge_base.numbers import find_numbers
from knowledge_base.terms import terms
from knowledge_base.text import CJK, Span, sentences

__all__ = ["Support", "best_support", "content_of", "support"]

_HAN = re.compile(f"[{CJK}]")
_MARK = re.compile(r"\[\d{1,3}\]")
_WIDEST = 3  # sentences of a passage that together support one sentence of an answer
_GAIN = 0.08  # what each further sentence must add
_NUMBER_WEIGHT = 2.0  # a number is worth two words


@dataclass(frozen=True, slots=True)
class Support:
    """How much of a sentence (0 to 1) stands in ``document[start:end]``, its best window in a passage."""

    score: float
    start: int
    end: int


def support(sentence: str, passage: Passage) -> Support:
    """The share of the sentence's content in the best window of one to three sentences of the passage.

    Content is words (stemmed), pairs of Chinese characters, and numbers by value; marks such as ``[1]`` and
    function words do not count. The headings above the passage count for every window. A sentence without content
    has score 0. ``start`` and ``end`` are offsets into the document.
    """
    wanted = content_of(sentence)
    total = sum(wanted.values())
    spans = sentences(passage.text) or [Span(0, len(passage.text))]
    heading = set(content_of(f"{passage.title}\n{passage.section}"))
    held = [set(content_of(passage.text[span.start : span.end])) | heading for span in spans]
    best, first, last = 0.0, 0, 0
    for width in range(1, min(_WIDEST, len(spans)) + 1):
        for at in range(len(spans) - width + 1):
            window = set[str]().union(*held[at : at + width])
            score = sum(weight for term, weight in wanted.items() if term in window) / total if total else 0.0
            if score >= best + (_GAIN * (width - (last - first + 1)) if best else 1e-9):
                best, first, last = score, at, at + width - 1
    return Support(min(best, 1.0), passage.start + spans[first].start, passage.start + spans[last].end)


def best_support(sentence: str, passages: Sequence[Passage]) -> tuple[int, Support] | None:
    """The number (from 1) of the passage that supports the sentence best; None without passages."""
    judged = [(number, support(sentence, passage)) for number, passage in enumerate(passages, 1)]
    return max(judged, key=lambda pair: (pair[1].score, -pair[0]), default=None)


def content_of(text: str) -> dict[str, float]:
    """The terms that carry a text's content, each with its weight."""
    text = _MARK.sub(" ", text)
    numbers = [number for number in find_numbers(text) if number.plain]
    rest = list(text)
    for number in numbers:
        rest[number.start : number.end] = " " * (number.end - number.start)
    words = terms("".join(rest))
    pairs = [term for term in words if len(term) > 1 or not _HAN.match(term)]
    content = dict.fromkeys(pairs or words, 1.0)
    content.update((f"#{number.value.normalize():f} {number.unit or ''}".strip(), _NUMBER_WEIGHT) for number in numbers)
    return content
