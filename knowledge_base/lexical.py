"""Lexical search: BM25 over stemmed English words, Chinese characters and their pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge_base.terms import terms

if TYPE_CHECKING:
    import bm25s
    import numpy as np

__all__ = ["K1", "B", "LexicalIndex", "QueryTerms"]

K1, B = 1.2, 0.5


class QueryTerms:
    """A question's terms with their weights: inverse document frequencies, highest for terms no passage has."""

    def __init__(self, weights: dict[str, float], repeated: Sequence[str]) -> None:
        self._weights = weights
        self.repeated = list(repeated)
        self.total = sum(weights.values())
        self.total_repeated = sum(weights[term] for term in repeated)

    def coverage(self, found: frozenset[str]) -> float:
        """The share, 0 to 1, of the question's weight that stands among the terms ``found``."""
        if not self.total:
            return 0.0
        return sum(weight for term, weight in self._weights.items() if term in found) / self.total


class LexicalIndex:
    """BM25 in Lucene's form (Kamphuis et al. 2020) over passages; rows are the passages' places."""

    def __init__(self, bm25: bm25s.BM25, size: int) -> None:
        self._bm25 = bm25
        self._size = size

    @classmethod
    def of(cls, texts: Iterable[str]) -> LexicalIndex:
        import bm25s

        corpus = [terms(text) for text in texts]
        bm25 = bm25s.BM25(method="lucene", k1=K1, b=B)
        # A corpus without a single term has no mean length; the empty term, which no question has, gives it one.
        bm25.index(corpus if any(corpus) else [[""] for _ in corpus], show_progress=False)
        return cls(bm25, len(corpus))

    @classmethod
    def load(cls, folder: Path, size: int) -> LexicalIndex:
        import bm25s

        return cls(bm25s.BM25.load(str(folder), mmap=True), size)

    def save(self, folder: Path) -> None:
        self._bm25.save(str(folder), show_progress=False)

    def query(self, text: str) -> QueryTerms:
        repeated = terms(text)
        return QueryTerms({term: self._weight(term) for term in repeated}, repeated)

    def scores(self, query: QueryTerms) -> np.ndarray:
        """Float32 ``[passages]``, 0 to 1: BM25 as a share of the most that this question could reach.

        A question none of whose terms is known scores 0 everywhere.
        """
        import numpy as np

        known = [term for term in query.repeated if term in self._bm25.vocab_dict]
        if not known:
            return np.zeros(self._size, dtype=np.float32)
        return np.asarray(self._bm25.get_scores(known), dtype=np.float32) / query.total_repeated

    def _weight(self, term: str) -> float:
        row = self._bm25.vocab_dict.get(term)
        starts = self._bm25.scores["indptr"]
        frequency = 0 if row is None else int(starts[row + 1] - starts[row])
        return math.log1p((self._size - frequency + 0.5) / (frequency + 0.5))
