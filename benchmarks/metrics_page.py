"""What a process of ours says of itself on its page of Prometheus metrics."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["samples"]


def samples(url: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each; a counter's name without the ``_total`` that the parser adds."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (our own worker)
        page = answer.read().decode()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield sample.name.removesuffix("_total"), sample.labels, sample.value
