"""The classifier of one language: multinomial logistic regression, its temperature, and its scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intents.features import Embed, Features, grams
from intents.scope import Scope
from intents.untyped import (
    Floats,
    best_scalar,
    cosines,
    folds,
    logistic_regression,
    one_thread,
    sparse_matrix,
    sparse_parts,
    unit_rows,
)

__all__ = ["LanguageModel", "Opinion"]

_INVERSE_PENALTY = 10.0
_FOLDS = 5
_NEIGHBOURS = 5
_LANDMARKS = 2500
"""Sentences that span the space that training runs in: all of them, unless there are more."""


class Opinion:
    """What a language model says about messages: arrays with a row for each.

    ``probabilities`` of the intents given that the message is in scope, shape (messages, intents);
    ``in_scope``, shape (messages,).
    """

    def __init__(self, probabilities: Floats, in_scope: Floats) -> None:
        self.probabilities = probabilities
        self.in_scope = in_scope


class LanguageModel:
    """Trained on ``(sentence, intent)`` pairs of one language, ``None`` for sentences out of scope.

    Those are a class of their own in the regression. Scope is judged by the largest logit, by how far it is
    above that class's, by the mean cosine to the five nearest sentences of the intents, and by the share of the
    message's words that the intents' sentences know. Temperature (Guo et
    al. 2017) and scope are fitted on five-fold cross-validated logits. Deterministic.
    """

    def __init__(self, pairs: Sequence[tuple[str, str | None]], language: str, embed: Embed | None = None) -> None:
        sentences = [sentence for sentence, _ in pairs]
        self.intents = sorted({intent for _, intent in pairs if intent is not None})
        place = {intent: number for number, intent in enumerate(self.intents)}
        self._labels = np.array([len(place) if intent is None else place[intent] for _, intent in pairs])
        self._language = language
        self._features = Features(sentences, language, embed)
        known = self._features.rows(sentences)
        self._in = self._labels < len(place)
        self._unit = unit_rows(known)
        self._neighbours = self._unit[self._in]
        self._grams = [grams(sentence, language) for sentence in sentences]
        self._vocabulary = _union(self._grams, np.flatnonzero(self._in))
        with one_thread():
            self._train(known)

    def _train(self, known: Any) -> None:
        space, back = _spanned(known)
        coefficients, self._intercepts = _fit(space, self._labels, back)
        self._weights = np.ascontiguousarray(coefficients.T)
        self.held_out_logits, signs = self._cross_validate(space)
        inside = self._in
        self.temperature = _temperature(self.held_out_logits[inside], self._labels[inside], len(self.intents))
        self.scope = Scope.fit(signs, inside)
        self.held_out_in_scope = self.scope.probability(signs)

    def learned(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that :meth:`known` needs to judge exactly like this one: facts for JSON, and arrays."""
        blocks = self._features.learned
        facts = {
            "language": self._language,
            "intents": self.intents,
            "vocabulary": sorted(self._vocabulary),
            "terms": [terms for terms, _ in blocks],
            "temperature": self.temperature,
            "offset": self.scope.offset,
            "threshold": self.scope.threshold,
        }
        arrays = {
            "weights": self._weights,
            "intercepts": self._intercepts,
            "labels": self._labels,
            "held_out_logits": self.held_out_logits,
            "held_out_in_scope": self.held_out_in_scope,
            "scope": self.scope.weights,
            **{f"neighbours.{name}": part for name, part in sparse_parts(self._neighbours).items()},
            **{f"idf.{number}": weights for number, (_, weights) in enumerate(blocks)},
        }
        return facts, arrays

    @classmethod
    def known(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], embed: Embed | None) -> LanguageModel:
        """The model that :meth:`learned` described, without training it again."""
        model = cls.__new__(cls)
        model._language, model.intents = facts["language"], facts["intents"]
        model._vocabulary = frozenset(facts["vocabulary"])
        blocks = [(terms, arrays[f"idf.{number}"]) for number, terms in enumerate(facts["terms"])]
        model._features = Features.known(blocks, model._language, embed)
        model._weights, model._intercepts = arrays["weights"], arrays["intercepts"]
        model._labels, model.held_out_logits = arrays["labels"], arrays["held_out_logits"]
        model.held_out_in_scope = arrays["held_out_in_scope"]
        model.temperature = facts["temperature"]
        model.scope = Scope(arrays["scope"], facts["offset"], facts["threshold"])
        prefix = "neighbours."
        parts = {name.removeprefix(prefix): part for name, part in arrays.items() if name.startswith(prefix)}
        model._neighbours = sparse_matrix(parts)
        return model

    @property
    def labels(self) -> NDArray[np.int_]:
        """The intent's number of each sentence; ``len(intents)`` for those out of scope."""
        return self._labels

    def ask(self, texts: Sequence[str]) -> Opinion:
        rows = self._features.rows(texts)
        logits = np.asarray(rows @ self._weights + self._intercepts)
        similarity = cosines(unit_rows(rows), self._neighbours)
        covered = _covered([grams(text, self._language) for text in texts], self._vocabulary)
        signs = self._signs(logits, similarity, covered)
        return Opinion(self.probabilities(logits), self.scope.probability(signs))

    def probabilities(self, logits: Floats) -> Floats:
        """Of the intents, given that the message is in scope; shape (messages, intents)."""
        return _softmax(logits[:, : len(self.intents)] / self.temperature)

    def _signs(self, logits: Floats, similarity: Floats, covered: Floats) -> Floats:
        """Signs of being in scope, shape (messages, 3 or 4)."""
        among = logits[:, : len(self.intents)].max(axis=1)
        nearest = min(_NEIGHBOURS, similarity.shape[1])
        near = np.partition(similarity, -nearest, axis=1)[:, -nearest:].mean(axis=1)
        columns = [among, near, covered]
        if logits.shape[1] > len(self.intents):
            columns.append(among - logits[:, -1])
        return np.stack(columns, axis=1)

    def _cross_validate(self, space: Any) -> tuple[Floats, Floats]:
        """Logits and signs of every sentence, by a model trained without its fold."""
        classes = int(self._labels.max()) + 1
        fewest = int(np.bincount(self._labels).min())
        logits = np.zeros((len(self._labels), classes))
        signs = np.zeros((len(self._labels), 4 if classes > len(self.intents) else 3))
        for train, test in folds(self._labels, max(2, min(_FOLDS, fewest))):
            coefficients, intercepts = _fit(space[train], self._labels[train], None)
            logits[test] = np.asarray(space[test] @ coefficients.T) + intercepts
            inside = train[self._in[train]]
            similarity = cosines(self._unit[test], self._unit[inside])
            covered = _covered([self._grams[int(i)] for i in test], _union(self._grams, inside))
            signs[test] = self._signs(logits[test], similarity, covered)
        return logits, signs


def _union(known: Sequence[frozenset[str]], which: NDArray[np.int_]) -> frozenset[str]:
    return frozenset[str]().union(*(known[int(i)] for i in which))


def _covered(messages: Sequence[frozenset[str]], vocabulary: frozenset[str]) -> Floats:
    """The share of each message's grams that the vocabulary has."""
    return np.array([len(message & vocabulary) / max(len(message), 1) for message in messages])


def _spanned(rows: Any) -> tuple[Floats, Any]:
    """The rows in an orthonormal basis of the space they span, and the matrix that leads back.

    A linear model with an L2 penalty lies in that space, so it is the same model, trained many times quicker.
    Of many rows an even choice spans the space, which is near it (Nyström; Williams and Seeger 2001).
    """
    step = -(-rows.shape[0] // _LANDMARKS)
    landmarks = rows[::step]
    values, vectors = np.linalg.eigh((landmarks @ landmarks.T).toarray())
    kept = values > values[-1] * 1e-10
    basis: Floats = vectors[:, kept] / np.sqrt(values[kept])
    return (rows @ landmarks.T).toarray() @ basis, landmarks.T @ basis


def _fit(space: Any, labels: NDArray[np.int_], back: Any) -> tuple[Floats, Floats]:
    """Coefficients of shape (classes, features) and intercepts of shape (classes,)."""
    coefficients, intercepts = logistic_regression(space, labels, inverse_penalty=_INVERSE_PENALTY)
    return (coefficients if back is None else coefficients @ back.T), intercepts


def _temperature(logits: Floats, labels: NDArray[np.int_], intents: int) -> float:
    """The one with the highest likelihood of the held-out sentences in scope."""

    def loss(log_temperature: float) -> float:
        probabilities = _softmax(logits[:, :intents] / np.exp(log_temperature))
        return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean())

    return float(np.exp(best_scalar(loss, -4.0, 3.0)))


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
