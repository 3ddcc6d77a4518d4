"""Draws the next token.

The draw at a position depends on the logits, the seed and the position alone: a counter-based generator (Philox,
Salmon et al. 2011) keyed by the seed with the position as its counter. There is no state to carry, so an answer
that is taken up elsewhere is drawn as it would have been.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator, Philox
from torch import Tensor

__all__ = ["sample", "uniform"]

_NEAR = 1e-6
"""Of the likeliest token's weight: what is less likely is looked at only where the draw falls beyond."""


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) for this seed and position."""
    return float(Generator(Philox(key=seed, counter=position)).random())


def sample(logits: Tensor, *, temperature: float, top_p: float, seed: int, position: int) -> int:
    """A token id from ``logits`` [vocabulary]: the likeliest at temperature 0, else nucleus sampling (Holtzman et
    al. 2019) by inverting the cumulative distribution over the tokens from the likeliest down; of two that are
    equally likely the lower id comes first.

    Sorts the tokens near the likeliest first, and all of them only where the draw needs it: a whole sort of a large
    vocabulary costs more than the rest of a step. With numpy, in this thread: what a row costs and gives then depends
    on nothing but the row.
    """
    if temperature <= 0:
        return int(logits.argmax())
    scaled = logits.float().cpu().numpy() / np.float32(temperature)
    weights = np.exp(scaled - scaled.max())
    total = weights.sum(dtype=np.float64)
    draw = uniform(seed, position)
    ids, mass = _from_the_likeliest(weights, np.flatnonzero(weights > _NEAR), total)
    if mass[-1] <= (top_p if top_p < 1 else draw):
        ids, mass = _from_the_likeliest(weights, np.arange(len(weights)), total)
    last = len(mass) - 1
    if top_p < 1:
        last = min(int(np.searchsorted(mass, top_p)), last)
        draw *= float(mass[last])
    return int(ids[min(int(np.searchsorted(mass, draw, side="right")), last)])


def _from_the_likeliest(weights: Any, among: Any, total: float) -> tuple[Any, Any]:
    """Ids from the likeliest down, and the share of all weight up to each."""
    ids = among[np.argsort(-weights[among], kind="stable")]
    return ids, np.cumsum(weights[ids], dtype=np.float64) / total
