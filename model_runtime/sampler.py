"""Draws the next token.

The draw at a position depends on the logits, the seed and the position alone: a counter-based generator (Philox,
Salmon et al. 2011) keyed by the seed with the position as its counter. There is no state to carry, so an answer
that is taken up elsewhere is drawn as it would have been.
"""

from __future__ import annotations

import torch
from numpy.random import Generator, Philox
from torch import Tensor

__all__ = ["sample", "uniform"]

_FIRST_LOOK = 64


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) for this seed and position."""
    return float(Generator(Philox(key=seed, counter=position)).random())


@torch.inference_mode()
def sample(logits: Tensor, *, temperature: float, top_p: float, seed: int, position: int) -> int:
    """A token id from ``logits`` [vocabulary]: the likeliest at temperature 0, else nucleus sampling (Holtzman et
    al. 2019) by inverting the cumulative distribution over the tokens from the likeliest down.

    Looks at the top of the distribution first and at more of it only where the draw needs it: a whole sort of a
    large vocabulary costs more than the rest of a step.
    """
    if temperature <= 0:
        return int(logits.argmax())
    scaled = logits.double() / temperature
    total = scaled.logsumexp(-1)
    draw = uniform(seed, position)
    size = min(_FIRST_LOOK, scaled.shape[0])
    while True:
        best = scaled.topk(size)
        mass = (best.values - total).exp().cumsum(-1)
        needed = top_p if top_p < 1 else draw
        if mass[-1] > needed or size == scaled.shape[0]:
            break
        size = min(size * 16, scaled.shape[0])
    last = size - 1
    if top_p < 1:
        last = min(int(torch.searchsorted(mass, top_p)), last)
        draw *= float(mass[last])
    return int(best.indices[min(int(torch.searchsorted(mass, draw, right=True)), last)])
