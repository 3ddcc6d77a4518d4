# pyright: basic
"""scikit-learn and SciPy, which have no types: what is used of them, with a signature, imported when needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Floats",
    "best_scalar",
    "cosines",
    "folds",
    "known_tfidf",
    "learned_of",
    "logistic_regression",
    "one_thread",
    "side_by_side",
    "sparse_matrix",
    "sparse_parts",
    "tfidf",
    "unit_rows",
]

Floats = NDArray[np.float64]


def tfidf(texts: Sequence[str], **shape: Any) -> Any:
    """A fitted ``TfidfVectorizer``; ``transform(texts)`` gives a CSR matrix."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**shape).fit(texts)


def known_tfidf(terms: Sequence[str], idf: Floats, **shape: Any) -> Any:
    """The vectorizer that was fitted to these terms, in the order of their columns, and weights."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer: Any = TfidfVectorizer(vocabulary={term: column for column, term in enumerate(terms)}, **shape)
    vectorizer.idf_ = idf
    return vectorizer


def learned_of(vectorizer: Any) -> tuple[list[str], Floats]:
    """What :func:`known_tfidf` takes."""
    return vectorizer.get_feature_names_out().tolist(), vectorizer.idf_


def sparse_parts(matrix: Any) -> dict[str, NDArray[Any]]:
    """The arrays of a CSR matrix."""
    return {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": np.array(matrix.shape)}


def sparse_matrix(parts: Mapping[str, NDArray[Any]]) -> Any:
    """The CSR matrix of such arrays."""
    from scipy import sparse

    shape = tuple(parts["shape"].tolist())
    return sparse.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=shape)


def side_by_side(blocks: Sequence[Any]) -> Any:
    """One CSR matrix of several, dense ones among them."""
    from scipy import sparse

    return sparse.hstack([sparse.csr_matrix(block) for block in blocks], format="csr")


def unit_rows(rows: Any) -> Any:
    """Each row divided by its length; rows of nothing stay so."""
    from sklearn.preprocessing import normalize

    return normalize(rows)


def cosines(unit: Any, other: Any) -> Floats:
    """Of each row with each, for matrices of unit rows."""
    return (unit @ other.T).toarray()


def logistic_regression(
    rows: Any, labels: NDArray[Any], *, inverse_penalty: float, weights: Floats | None = None
) -> tuple[Floats, Floats]:
    """Coefficients of shape (classes, features) and intercepts of shape (classes,), by L-BFGS.

    Two classes have a single row in scikit-learn; here each has half of it.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model: Any = LogisticRegression(C=inverse_penalty, max_iter=200, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the order of the logits is settled by then
        model.fit(rows, labels, sample_weight=weights)
    if len(model.coef_) == 1:
        return np.vstack([-model.coef_, model.coef_]) / 2, np.concatenate([-model.intercept_, model.intercept_]) / 2
    return model.coef_, model.intercept_


def one_thread() -> AbstractContextManager[Any]:
    """Keeps linear algebra to one thread: matrices this small get slower by more, and results may differ."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def folds(labels: NDArray[np.int_], number: int) -> Iterator[tuple[NDArray[np.int_], NDArray[np.int_]]]:
    """Stratified: the indices to train on and those to test, always the same."""
    from sklearn.model_selection import StratifiedKFold

    yield from StratifiedKFold(number, shuffle=True, random_state=0).split(np.zeros(len(labels)), labels)


def best_scalar(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where the loss is least, by Brent's method."""
    from scipy.optimize import minimize_scalar

    found: Any = minimize_scalar(loss, bounds=(low, high), method="bounded")
    return float(found.x)
