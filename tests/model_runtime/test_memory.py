"""How much memory there is: the machine's, within the limits of the control groups that hold a container."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from model_runtime.architecture import Architecture
from model_runtime.cache import Cache
from model_runtime.memory import available_bytes, step_bytes, token_bytes
from model_runtime.slot_engine import SlotEngine
from tests.support.tiny_model import CONFIG

CPU = torch.device("cpu")
MIB = 1 << 20
SHAPE = Architecture.from_config(CONFIG)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 900 MiB to be had."""
    _write(tmp_path / "proc/meminfo", f"MemTotal: 2000 kB\nMemAvailable: {900 * 1024} kB\n")
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _v2(folder: Path, most: str, used: int, cached: int = 0) -> None:
    _write(folder / "memory.max", f"{most}\n")
    _write(folder / "memory.current", f"{used}\n")
    _write(folder / "memory.stat", f"anon 5\ninactive_file {cached}\n")


def test_without_groups_the_machine_tells(root: Path, tmp_path: Path) -> None:
    """Its own figure; where not even that is there, no bound is known."""
    assert available_bytes(CPU, root=root) == 900 * MIB
    assert available_bytes(CPU, root=tmp_path / "nothing") == 2**62


def test_a_container_has_what_its_group_has_left(root: Path) -> None:
    """Version 2: its own group, at its path or mounted at the top; what is only cached counts as free."""
    _write(root / "proc/self/cgroup", "0::/pod/worker\n")
    top = root / "sys/fs/cgroup"
    _v2(top / "pod/worker", str(500 * MIB), 300 * MIB, 50 * MIB)
    assert available_bytes(CPU, root=root) == 250 * MIB
    _v2(top / "pod", str(400 * MIB), 390 * MIB)  # a limit above it holds, too
    assert available_bytes(CPU, root=root) == 10 * MIB
    _v2(top / "pod", "max", 390 * MIB)
    assert available_bytes(CPU, root=root) == 250 * MIB
    _write(root / "proc/self/cgroup", "0::/of/the/host\n")
    _v2(top, str(100 * MIB), 120 * MIB)
    assert available_bytes(CPU, root=root) == 0


def test_version_1_tells_too(root: Path) -> None:
    """Its controllers have paths of their own, and no limit is a number beyond all memory."""
    _write(root / "proc/self/cgroup", "5:devices:/d\n4:cpu,memory:/m\n0::/\n")
    folder = root / "sys/fs/cgroup/memory/m"
    _write(folder / "memory.usage_in_bytes", str(60 * MIB))
    _write(folder / "memory.stat", f"total_inactive_file {10 * MIB}\n")
    _write(folder / "memory.limit_in_bytes", str(2**63 - 4096))
    assert available_bytes(CPU, root=root) == 900 * MIB
    _write(folder / "memory.limit_in_bytes", str(80 * MIB))
    assert available_bytes(CPU, root=root) == 30 * MIB


def test_this_machine_tells_something_sensible() -> None:
    """Less than all there is, more than nothing."""
    assert 0 < available_bytes(CPU) <= psutil.virtual_memory().total


def test_the_cache_takes_what_its_tokens_take() -> None:
    """Bytes of a pool are those of its tensors, so what is promised fits."""
    cache = Cache(SHAPE, rows=3, widths=(64, 128), dtype=torch.bfloat16, device=CPU)
    cache.hold(1, 60)
    assert cache.nbytes == 3 * 64 * token_bytes(SHAPE, torch.bfloat16)


def test_a_step_needs_more_the_more_it_does() -> None:
    """Monotonous in rows, chunk and width, and never below the logits."""
    small = step_bytes(SHAPE, rows=2, chunk=16, width=64, dtype=torch.bfloat16)
    assert step_bytes(SHAPE, rows=2, chunk=32, width=64, dtype=torch.bfloat16) > small
    assert step_bytes(SHAPE, rows=2, chunk=16, width=128, dtype=torch.bfloat16) > small
    many = step_bytes(SHAPE, rows=4096, chunk=16, width=64, dtype=torch.bfloat16)
    assert many >= 4096 * SHAPE.vocabulary * 6


async def test_no_task_is_taken_that_would_find_no_memory(model_folder: Path) -> None:
    """Without room for the narrowest rows an engine offers one: whoever comes then is told why."""
    for bytes_, limit in ((1 * MIB, 1), (1 << 30, 4)):
        engine = SlotEngine(model_folder, rows=4, widths=(256, 512), threads=1, cache_bytes=bytes_)
        await engine.start()
        assert (await engine.capacity()).rows_limit == limit
        await engine.close()
