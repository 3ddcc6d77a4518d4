"""Keys and values of the rows, in pools of a few fixed widths.

A row's width is the least that holds its *own* length, so what it computes over never depends on its neighbours.
Each width has one pool with as many places as there are rows; a pool is made when a first row needs it, and given back
when memory is short and nobody is in it. A row takes the lowest free place of its pool, so that a step attends over few
places beyond those in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model_runtime.architecture import Architecture
from model_runtime.memory import available_bytes, token_bytes

__all__ = ["Cache", "Place", "Pool"]


@dataclass(slots=True, eq=False)
class Pool:
    """``keys`` and ``values``: [layers, places, kv heads, width, head dim]. ``rows``: who has each place; ``prompts``:
    which part of a prompt stands there, also after its row left."""

    width: int
    keys: Tensor
    values: Tensor
    rows: list[int | None] = field(init=False)
    prompts: list[tuple[int, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = [None] * self.places
        self.prompts = [()] * self.places

    @property
    def places(self) -> int:
        return self.keys.shape[1]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sequence stands: at ``number`` of ``pool``."""

    pool: Pool
    number: int

    @property
    def prompt(self) -> tuple[int, ...]:
        """The part of a prompt that is held here."""
        return self.pool.prompts[self.number]

    def remember(self, prompt: tuple[int, ...]) -> None:
        """That this part of a prompt is held here."""
        self.pool.prompts[self.number] = prompt

    def take_over(self, other: Place, length: int) -> None:
        """Copies the first ``length`` keys and values of another place, and what is known of them."""
        for mine, theirs in ((self.pool.keys, other.pool.keys), (self.pool.values, other.pool.values)):
            mine[:, self.number, :, :length] = theirs[:, other.number, :, :length]
        self.remember(other.prompt[:length])


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
        self._place_of: list[Place | None] = [None] * rows

    def width_for(self, length: int) -> int | None:
        """The least width that holds ``length`` tokens; ``None`` beyond the widest."""
        return next((width for width in self.widths if width >= length), None)

    def place_of(self, row: int) -> Place | None:
        """Where the row stands; ``None`` while it holds no sequence."""
        return self._place_of[row]

    def places(self) -> Iterator[Place]:
        """All there are, of whoever."""
        return (Place(pool, number) for pool in self._pools.values() for number in range(pool.places))

    def hold(self, row: int, length: int) -> Place:
        """The place at which ``row`` has room for ``length`` tokens; what it held so far moves along.

        Raises :class:`MemoryError` (or torch's own error) where there is no memory; the row then keeps its place.
        """
        width, now = self.width_for(length), self._place_of[row]
        if width is None:
            raise MemoryError(f"{length} tokens do not fit the widest row of {self.widths[-1]}")
        if now is not None and now.pool.width == width:
            return now
        pool = self._pools.get(width) or self._make(width)
        place = Place(pool, pool.rows.index(None))
        place.remember(())
        if now is not None:
            place.take_over(now, now.pool.width)
            self.release(row)
        pool.rows[place.number] = row
        self._place_of[row] = place
        return place

    def release(self, row: int) -> None:
        """Gives the row's place back. What stands there is overwritten before anyone attends to it."""
        place, self._place_of[row] = self._place_of[row], None
        if place is not None:
            place.pool.rows[place.number] = None

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
        return [width for width, pool in self._pools.items() if not any(row is not None for row in pool.rows)]

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
