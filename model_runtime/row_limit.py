"""How many rows may be in use while memory is short."""

from __future__ import annotations

__all__ = ["RowLimit"]

GROW_STEPS = 64
"""Steps without a shortage after which one more row is tried."""


class RowLimit:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989): halved when memory ran out, one row more after
    each ``GROW_STEPS`` steps in which it did not. ``now`` is between 1 and ``rows``."""

    def __init__(self, rows: int) -> None:
        self.rows = self.now = rows
        self._calm = 0

    def step(self, *, short: bool) -> None:
        """After each step of the batch; ``short``: a sequence had to give its row back for want of memory."""
        if short:
            self.now, self._calm = max(1, self.now // 2), 0
        elif self.now < self.rows:
            self._calm += 1
            if self._calm == GROW_STEPS:
                self.now, self._calm = self.now + 1, 0
