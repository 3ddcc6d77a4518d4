"""Finds out whether a decode step over fewer rows gives each row the very same logits.

Kernels may sum in another order for another shape. Where they do not (ATen's packed products and the small
attention products on the CPUs tried), a step may cover the occupied rows only, which halves the time of a lone
answer and changes no token. Where they do, every step has to cover all rows. So it is measured, at every start,
and the outcome is part of the engine's digest. The probe warms the kernels up too.
"""

from __future__ import annotations

import torch

from model_runtime.cache import Pool
from model_runtime.decoder import Decoder

__all__ = ["extents_equal"]


def extents_equal(decoder: Decoder, rows: int, widths: tuple[int, ...]) -> bool:
    """Compares bit by bit, at each width, every number of rows with all of them."""
    generator = torch.Generator().manual_seed(0)
    shape = decoder.shape
    ids = torch.randint(shape.vocabulary, (rows,), generator=generator).tolist()
    equal = True
    for width in widths:
        pool = _one_layer_pool(decoder, rows, width, generator)
        lengths = torch.randint(width // 2, width, (rows,), generator=generator).tolist()
        whole = decoder.decode(ids, lengths, [pool] * rows)
        for extent in range(1, rows):
            part = decoder.decode(ids[:extent], lengths[:extent], [pool] * extent)
            equal = equal and torch.equal(part, whole[:extent])
    return equal


def _one_layer_pool(decoder: Decoder, rows: int, width: int, generator: torch.Generator) -> Pool:
    """A pool whose layers share one memory: as wide as the real one at a fraction of its size."""
    shape = decoder.shape
    one = torch.randn((1, rows, shape.kv_heads, width, shape.head_dim), generator=generator)
    every = one.to(decoder.device, decoder.dtype).expand(shape.layers, *one.shape[1:])
    return Pool(width, every, every.clone()[:1].expand_as(every))
