"""Processor time, which another program's load changes less than it does the clock on the wall."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

__all__ = ["CpuSeconds"]


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Seconds so far of this process, and of the Temporal server that it started."""

    here: float
    server: float

    @classmethod
    def now(cls) -> CpuSeconds:
        this = psutil.Process()
        servers = [child for child in this.children(recursive=True) if child.name() == "temporal"]
        return cls(_seconds(this), sum(map(_seconds, servers)))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
