"""Whether a message is in scope at all: one probability from a few signs, fitted on cross-validated scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intents.untyped import Floats, logistic_regression

__all__ = ["OUT_OF_SCOPE_SHARE", "Scope", "best_threshold"]

OUT_OF_SCOPE_SHARE = 0.2
"""The share of messages out of scope that probabilities are calibrated for (the examples' own share is chance)."""

_KEPT_WITHOUT_EXAMPLES = 0.95


@dataclass(frozen=True)
class Scope:
    """A logistic function of signs (Platt 1999). ``threshold`` is the probability below which it is out of scope."""

    weights: Floats
    offset: float
    threshold: float

    def probability(self, signs: Floats) -> Floats:
        """Of being in scope, for signs of shape (messages, signs)."""
        return 1 / (1 + np.exp(-np.clip(signs @ self.weights + self.offset, -40, 40)))

    @classmethod
    def fit(cls, signs: Floats, in_scope: NDArray[np.bool_]) -> Scope:
        """From signs of shape (sentences, signs) that were scored by models which had not seen the sentence."""
        if in_scope.all():
            return cls._from_in_scope_alone(signs)
        mean, spread = signs.mean(axis=0), signs.std(axis=0) + 1e-9
        share = float(in_scope.mean())
        weight: Floats = np.where(in_scope, (1 - OUT_OF_SCOPE_SHARE) / share, OUT_OF_SCOPE_SHARE / (1 - share))
        coefficients, intercepts = logistic_regression(
            (signs - mean) / spread, in_scope, inverse_penalty=1.0, weights=weight
        )
        weights = 2 * coefficients[1] / spread
        fitted = cls(weights, float(2 * intercepts[1] - weights @ mean), 0.5)
        return cls(weights, fitted.offset, best_threshold(fitted.probability(signs), in_scope))

    @classmethod
    def _from_in_scope_alone(cls, signs: Floats) -> Scope:
        """Without a single example out of scope: the lowest scores of the intents' own sentences are doubted."""
        mean, spread = signs.mean(axis=0), signs.std(axis=0) + 1e-9
        weights = 1 / spread
        total = (signs - mean) @ weights
        lowest = float(np.quantile(total, 1 - _KEPT_WITHOUT_EXAMPLES))
        return cls(weights, float(-lowest - weights @ mean), 0.5)


def best_threshold(probability: Floats, in_scope: NDArray[np.bool_]) -> float:
    """The cut with the highest mean of both recalls; the middle of the gap where it may lie."""
    order = np.argsort(probability, kind="stable")
    sorted_in = in_scope[order]
    missed = np.concatenate([[0], np.cumsum(sorted_in)]) / max(int(in_scope.sum()), 1)
    rejected = np.concatenate([[0], np.cumsum(~sorted_in)]) / max(int((~in_scope).sum()), 1)
    best = int(np.argmax(rejected - missed))
    edges = np.concatenate([[0.0], probability[order], [1.0]])
    return float((edges[best] + edges[best + 1]) / 2)
