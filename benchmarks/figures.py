"""Figures of repeated measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["percentile", "spread"]


def percentile(values: Sequence[float], share: int) -> float:
    """The ``share``-th percentile, 1 to 99, interpolated between the values themselves."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, least and greatest of the runs."""
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "greatest": round(max(values), digits),
    }
