"""How relevant a passage is to a question, 0 to 1, from what dense and lexical search say of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["DENSE_AND_LEXICAL", "LEXICAL", "Evidence", "Weights", "relevance"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one passage and one question.

    ``bm25``: BM25 as a share of the question's most, 0 to 1. ``coverage``: the weighted share of the question's
    terms in the passage's best sentence and its headings, 0 to 1. ``passage`` and ``sentence``: cosines of the
    question with the passage and with its best sentence, None where the embedder was not asked.
    """

    bm25: float
    coverage: float
    passage: float | None = None
    sentence: float | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    bias: float
    bm25: float
    coverage: float
    passage: float = 0.0
    sentence: float = 0.0


# A logistic regression over passages that hold the answer and the best that foreign questions find, as many of the
# one as of the other: `python evals/retrieval.py --fit`. Cosines are those of all-MiniLM-L6-v2; fit again for another.
DENSE_AND_LEXICAL = Weights(bias=-10.5, bm25=5.0, coverage=6.75, passage=9.0, sentence=7.5)
LEXICAL = Weights(bias=-5.7, bm25=19.0, coverage=4.0)


def relevance(evidence: Evidence) -> float:
    """A logistic function of the evidence; the same number orders passages and is held against the threshold."""
    if evidence.passage is None or evidence.sentence is None:
        weights, dense = LEXICAL, 0.0
    else:
        weights = DENSE_AND_LEXICAL
        dense = weights.passage * evidence.passage + weights.sentence * evidence.sentence
    lexical = weights.bm25 * evidence.bm25 + weights.coverage * evidence.coverage
    return 1 / (1 + math.exp(-(weights.bias + lexical + dense)))
