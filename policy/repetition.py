"""Whether an answer repeats itself, as small models do when they get into a loop.

Three signs, over words (each Han character is one): a stretch said again and again back to back; a sentence
or paragraph that returns; few distinct 4-grams in a long text (Holtzman et al. 2020 measure degeneration so).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

__all__ = ["Repetition", "find_repetition"]

_TOKEN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
_SENTENCE = re.compile(r"[^\n.!?。！？；;]+")
_CITATION = re.compile(r"\[\d+\]")
_LONGEST_PERIOD = 80
_MIN_SENTENCE = 6
_MIN_PARAGRAPH = 15
_MIN_TOKENS_FOR_SHARE = 60
_LEAST_DISTINCT = 0.5


@dataclass(frozen=True, slots=True)
class Repetition:
    """``start`` and ``end`` are offsets into the answer: from the first repeat on."""

    start: int
    end: int
    sign: Literal["loop", "sentence", "paragraph", "few_distinct"]


def find_repetition(text: str) -> Repetition | None:
    """The first sign of repetition in a finished answer, or ``None``."""
    blanked = _CITATION.sub(lambda match: " " * len(match.group()), text.casefold())
    if len(blanked) != len(text):  # a character that casefolds to two: spans matter more than case
        blanked = text
    tokens = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(blanked)]
    return (
        _loop(tokens)
        or _returning(blanked, r"[^\n]+", _MIN_PARAGRAPH, 2, "paragraph")
        or _returning(blanked, _SENTENCE.pattern, _MIN_SENTENCE, 3, "sentence")
        or _few_distinct(tokens)
    )


def _times_allowed(period: int) -> int:
    """How often in a row a stretch of ``period`` tokens may stand before it is a loop."""
    if period == 1:
        return 5
    return 3 if period <= 3 else 2


def _loop(tokens: list[tuple[str, int, int]]) -> Repetition | None:
    words = [word for word, _, _ in tokens]
    for period in range(1, min(_LONGEST_PERIOD, len(words) // 2) + 1):
        same = 0
        wanted = period * _times_allowed(period)
        for i in range(period, len(words)):
            same = same + 1 if words[i] == words[i - period] else 0
            if same >= wanted:
                first = i - same + 1
                while i + 1 < len(words) and words[i + 1] == words[i + 1 - period]:
                    i += 1
                return Repetition(tokens[first][1], tokens[i][2], "loop")
    return None


def _returning(
    text: str, unit: str, min_tokens: int, times: int, sign: Literal["sentence", "paragraph"]
) -> Repetition | None:
    seen = Counter[tuple[str, ...]]()
    for match in re.finditer(unit, text):
        words = tuple(_TOKEN.findall(match.group()))
        if len(words) < min_tokens:
            continue
        seen[words] += 1
        if seen[words] == times:
            return Repetition(match.start(), match.end(), sign)
    return None


def _few_distinct(tokens: list[tuple[str, int, int]]) -> Repetition | None:
    if len(tokens) < _MIN_TOKENS_FOR_SHARE:
        return None
    words = [word for word, _, _ in tokens]
    grams = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    if len(set(grams)) >= _LEAST_DISTINCT * len(grams):
        return None
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    while grams[repeated] not in seen:
        seen.add(grams[repeated])
        repeated += 1
    return Repetition(tokens[repeated][1], tokens[-1][2], "few_distinct")
