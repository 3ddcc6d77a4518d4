"""Keys and values of the rows, in pools of a few fixed widths.

A row's width is the least that holds its *own* length, so what it computes over never depends on its neighbours.
Each width has one pool with a place for every row; a pool is made when a first row needs it, and given back when
memory is short and nobody is in it.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import Tensor

from model_runtime.architecture import Architecture
from model_runtime.memory import available_bytes, token_bytes

__all__ = ["Cache", "Pool"]


@dataclass(slots=True, weakref_slot=True)
class Pool:
    """``keys`` and ``values``: [layers, rows, kv heads, width, head dim]."""

    width: int
    keys: Tensor
    values: Tensor


class Cache:
    """``budget`` bounds all pools together, in bytes; ``None``: whatever the device gives, but for ``spare`` bytes that
    a step needs."""

    def __init__(
        self,
        shape: Architecture,
        *,
        rows: int,
        widths: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        budget: int | None = None,
        spare: int = 0,
    ) -> None:
        self.rows = rows
        self.widths = widths
        self._shape, self._dtype, self._device, self._budget, self._spare = shape, dtype, device, budget, spare
        self._pools: dict[int, Pool] = {}
        self._width_of: list[int | None] = [None] * rows
        self._left: list[weakref.ref[Pool] | None] = [None] * rows

    def width_for(self, length: int) -> int | None:
        """The least width that holds ``length`` tokens; ``None`` beyond the widest."""
        return next((width for width in self.widths if width >= length), None)

    def pool_of(self, row: int) -> Pool | None:
        """Where the row stands; ``None`` while it holds no sequence."""
        width = self._width_of[row]
        return None if width is None else self._pools[width]

    def held_by(self, row: int) -> Pool | None:
        """Where the row stands, or last stood, if that memory was not given back since: what it held is there still."""
        left = self._left[row]
        return self.pool_of(row) or (None if left is None else left())

    def hold(self, row: int, length: int) -> Pool:
        """The pool in which ``row`` has room for ``length`` tokens; what it held so far moves along.

        Raises :class:`MemoryError` (or torch's own error) where there is no memory; the row then keeps its place.
        """
        width, now = self.width_for(length), self._width_of[row]
        if width is None:
            raise MemoryError(f"{length} tokens do not fit the widest row of {self.widths[-1]}")
        if now == width:
            return self._pools[width]
        pool = self._pools.get(width) or self._make(width)
        if now is not None:
            old = self._pools[now]
            pool.keys[:, row, :, :now] = old.keys[:, row]
            pool.values[:, row, :, :now] = old.values[:, row]
        self._width_of[row] = width
        return pool

    def release(self, row: int) -> None:
        """Gives the row's place back. What stood there is overwritten before anyone attends to it."""
        pool = self.pool_of(row)
        self._left[row] = None if pool is None else weakref.ref(pool)
        self._width_of[row] = None

    @property
    def nbytes(self) -> int:
        return sum(pool.keys.nbytes + pool.values.nbytes for pool in self._pools.values())

    @property
    def free_bytes(self) -> int:
        """What pools may still take, idle ones counted as free."""
        return sum(self._size(width) for width in self._idle()) + self._unused

    @property
    def has_room(self) -> bool:
        """Whether a sequence that is short as yet finds a place."""
        least = self.widths[0]
        return least in self._pools or self._size(least) <= self.free_bytes

    def _idle(self) -> list[int]:
        return [width for width in self._pools if width not in self._width_of]

    def _make(self, width: int) -> Pool:
        shape, size = (
            (self._shape.layers, self.rows, self._shape.kv_heads, width, self._shape.head_dim),
            self._size(width),
        )
        for idle in self._idle():
            if size <= self._unused:
                break
            del self._pools[idle]
        if size > self._unused:
            raise MemoryError(f"the cache has no room for rows of {width} tokens ({size / 2**20:.0f} MiB)")
        # zeros, for garbage could hold NaN, and 0 x NaN is NaN even where a mask hides it
        pool = Pool(width, *(torch.zeros(shape, dtype=self._dtype, device=self._device) for _ in range(2)))
        self._pools[width] = pool
        return pool

    def _size(self, width: int) -> int:
        """Bytes of a pool."""
        return self.rows * width * token_bytes(self._shape, self._dtype)

    @property
    def _unused(self) -> int:
        if self._budget is not None:
            return self._budget - self.nbytes
        return available_bytes(self._device) - self._spare
