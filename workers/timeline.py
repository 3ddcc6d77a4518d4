"""What the start of a process spent its time on: told in its log and in its ready file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Steps", "Timeline"]

Steps = dict[str, tuple[float, float]]
"""Name -> when it began and ended, in seconds from the start of the process. Steps may run side by side."""


class Timeline:
    """Made when the work begins; what was before it is the step ``interpreter``."""

    def __init__(self) -> None:
        self._zero = time.monotonic() - _age()
        self.steps: Steps = {"interpreter": (0.0, self.now())}

    def now(self) -> float:
        """Seconds from the start of the process."""
        return round(time.monotonic() - self._zero, 3)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = self.now()
        try:
            yield
        finally:
            self.steps[name] = (began, self.now())

    def split(self, name: str, seconds: dict[str, float]) -> None:
        """Says what a step that has ended was made of: parts one after another, the last of which ended with it."""
        began, ended = self.steps[name]
        for part in reversed(seconds):
            begin = max(began, round(ended - seconds[part], 3))
            self.steps[f"{name}: {part}"], ended = (begin, ended), begin


def _age() -> float:
    """Seconds since this process was started; 0 where the system does not tell."""
    try:
        started = int(Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return 0.0
