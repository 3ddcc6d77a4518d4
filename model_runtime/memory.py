"""How much memory there is, and how much of it a step takes beside weights and cache.

Weights are held before a cache is made, so what is free is free without them. What a token takes in the cache and the
activations of one step follow from the architecture; that estimate is from above, and where it was wrong all the same,
the batch puts a sequence back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from model_runtime.architecture import Architecture

__all__ = ["available_bytes", "step_bytes", "token_bytes"]

_UNKNOWN = 2**62
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def token_bytes(shape: Architecture, dtype: torch.dtype) -> int:
    """Keys and values of one token in all layers."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * dtype.itemsize


def step_bytes(shape: Architecture, *, rows: int, chunk: int, width: int, dtype: torch.dtype) -> int:
    """The most that stands in memory at once while a step runs: the chunk of a prompt, then a token of each row.

    Of a layer: scores of all heads (float32, and again as ``dtype``), the three parts of the feed-forward, queries,
    keys and values before and after their turn. Of the end: logits, again in float32.
    """
    tokens = max(chunk, rows)
    scores = max(chunk * width, rows * width) * shape.heads * (4 + dtype.itemsize)
    hidden = tokens * (3 * shape.intermediate + 4 * shape.heads * shape.head_dim + 4 * shape.hidden) * dtype.itemsize
    logits = rows * shape.vocabulary * (dtype.itemsize + 4)
    return max(scores + hidden, logits)


def available_bytes(device: torch.device, *, root: Path = Path("/")) -> int:
    """Memory that can be had now: a GPU's free memory; else the machine's, within the limits of our control groups.

    ``root`` is where ``proc`` and ``sys`` are. 2^62 where nothing tells.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_of_machine(root / "proc/meminfo"), *_of_groups(root), _UNKNOWN)


def _of_machine(meminfo: Path) -> int:
    try:
        with meminfo.open(encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _UNKNOWN


def _of_groups(root: Path) -> Iterator[int]:
    """What each control group above us (version 1 or 2) has left: a container's limit is on one of them."""
    yield _UNKNOWN
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, names = (root / "sys/fs/cgroup/memory", _V1) if controllers else (root / "sys/fs/cgroup", _V2)
        group = top / path.lstrip("/")
        # within a container the path may be the host's, while its own group is mounted at the top
        for folder in {top, *(each for each in (group, *group.parents) if each.is_relative_to(top))}:
            if (left := _left(folder, *names)) is not None:
                yield left


def _left(folder: Path, limit: str, used: str, cached: str) -> int | None:
    """Files that are only cached make room when it is needed. ``None``: no limit, or no such group."""
    try:
        most = (folder / limit).read_text("ascii").strip()
        if most == "max":
            return None
        taken = int((folder / used).read_text("ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return max(0, int(most) - taken + int(stat.get(cached, 0)))
    except (OSError, ValueError):
        return None
