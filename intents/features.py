"""Sentences of one language as rows of numbers: TF-IDF of words and characters, and an embedding if there is one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

from intents.untyped import side_by_side, tfidf

__all__ = ["Embed", "Features", "fold", "grams"]

Embed = Callable[[list[str]], Any]
"""Texts -> float array of shape (texts, dimensions), rows of length one."""

_WORD = re.compile(r"\w+")

UNSPACED = frozenset({"zh", "ja", "th"})
"""Languages written without spaces between words: characters tell more than words."""


class Features:
    """Blocks side by side, each of rows of length one: words 1-2 and characters 2-5 where words are written
    apart, characters 1-2 elsewhere; the embedding last. Fitted on the sentences it is made from.
    """

    def __init__(self, sentences: Sequence[str], language: str, embed: Embed | None) -> None:
        if language in UNSPACED:
            shapes: list[dict[str, Any]] = [{"analyzer": "char", "ngram_range": (1, 2)}]
        else:
            shapes = [
                {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
                {"analyzer": "char_wb", "ngram_range": (2, 5)},
            ]
        self._embed = embed
        folded = [fold(sentence) for sentence in sentences]
        self._blocks = [tfidf(folded, sublinear_tf=True, **shape) for shape in shapes]

    def rows(self, texts: Sequence[str]) -> Any:
        """SciPy CSR matrix of shape (texts, features)."""
        folded = [fold(text) for text in texts]
        parts = [block.transform(folded) for block in self._blocks]
        if self._embed is not None:
            parts.append(self._embed(list(texts)))
        return side_by_side(parts)


def grams(text: str, language: str) -> frozenset[str]:
    """The words of ``text``; where words are written together, its characters and pairs of characters."""
    words = _WORD.findall(fold(text))
    if language not in UNSPACED:
        return frozenset(words)
    singles = {character for word in words for character in word}
    return frozenset(singles | {word[i : i + 2] for word in words for i in range(len(word) - 1)})


def fold(text: str) -> str:
    """NFKC, caseless, simplified characters, masks left out."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("█", " ").strip()
    return folded if folded.isascii() else _simplifier()(folded)


@cache
def _simplifier() -> Callable[[str], str]:
    import opencc

    return cast("Callable[[str], str]", cast("Any", opencc.OpenCC("t2s")).convert)
