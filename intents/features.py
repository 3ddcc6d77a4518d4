"""Sentences of one language as rows of numbers: TF-IDF of words and characters, and an embedding if there is one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

from intents.untyped import Floats, known_tfidf, learned_of, side_by_side, tfidf

__all__ = ["Embed", "Features", "Learned", "fold", "grams"]

Embed = Callable[[list[str]], Any]
"""Texts -> float array of shape (texts, dimensions), rows of length one."""

Learned = tuple[list[str], Floats]
"""The terms of a block and their weights, shape (terms,)."""

_WORD = re.compile(r"\w+")

UNSPACED = frozenset({"zh", "ja", "th"})
"""Languages written without spaces between words: characters tell more than words."""


class Features:
    """Blocks side by side, each of rows of length one: words 1-2 and characters 2-5 where words are written
    apart, characters 1-2 elsewhere; the embedding last. Fitted on the sentences it is made from.
    """

    def __init__(self, sentences: Sequence[str], language: str, embed: Embed | None) -> None:
        self._embed = embed
        folded = [fold(sentence) for sentence in sentences]
        self._blocks = [tfidf(folded, **shape) for shape in _shapes(language)]

    @classmethod
    def known(cls, learned: Sequence[Learned], language: str, embed: Embed | None) -> Features:
        """Those that :attr:`learned` describes, without fitting them again."""
        features = cls.__new__(cls)
        features._embed = embed
        shapes = _shapes(language)
        features._blocks = [known_tfidf(*block, **shape) for block, shape in zip(learned, shapes, strict=True)]
        return features

    @property
    def learned(self) -> list[Learned]:
        """For each block its terms, in the order of their columns, and the terms' weights."""
        return [learned_of(block) for block in self._blocks]

    def rows(self, texts: Sequence[str]) -> Any:
        """SciPy CSR matrix of shape (texts, features)."""
        folded = [fold(text) for text in texts]
        parts = [block.transform(folded) for block in self._blocks]
        if self._embed is not None:
            parts.append(self._embed(list(texts)))
        return side_by_side(parts)


def _shapes(language: str) -> list[dict[str, Any]]:
    if language in UNSPACED:
        return [{"analyzer": "char", "ngram_range": (1, 2), "sublinear_tf": True}]
    return [
        {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b", "sublinear_tf": True},
        {"analyzer": "char_wb", "ngram_range": (2, 5), "sublinear_tf": True},
    ]


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
