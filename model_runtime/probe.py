"""Finds out whether a decode step over fewer rows gives each row the very same logits.

Kernels may sum in another order for another shape. Where they do not (ATen's packed products and the small
attention products on the CPUs tried), a step may cover the occupied rows only, which halves the time of a lone
answer and changes no token. Where they do, every step has to cover all rows. So it is measured, and the outcome is
part of the engine's digest. The probe warms the kernels up too.

It takes a step for each number of rows and each width, seconds for a large model. So the outcome is kept for the very
same weights, kernels, threads, rows, widths and code, and a later start only looks whether it still holds at one width.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from model_runtime.cache import Place, Pool
from model_runtime.decoder import Decoder

__all__ = ["extents_equal", "kept_extents_equal", "processor"]


def kept_extents_equal(
    decoder: Decoder, rows: int, widths: tuple[int, ...], folder: Path | None, decisive: Sequence[Any]
) -> bool:
    """:func:`extents_equal`, or what it gave before for the same ``decisive`` facts (JSON) where that still holds.

    An outcome below ``folder`` that is damaged, or that one look refutes, is measured again; that they are not equal
    needs no look, for all rows together are always right. ``None``: nothing is kept.
    """
    if folder is None:
        return extents_equal(decoder, rows, widths)
    facts = json.dumps([rows, widths, _processor(), _own_code(), *decisive])
    path = folder / f"{hashlib.sha256(facts.encode()).hexdigest()}.json"
    kept = _read(path, facts)
    if kept is not None and (not kept or _equal(decoder, rows, widths[:1], {1, rows - 1})):
        return kept
    measured = extents_equal(decoder, rows, widths)
    with contextlib.suppress(OSError):  # costs the next start its time
        _write(path, facts, measured)
    return measured


def extents_equal(decoder: Decoder, rows: int, widths: tuple[int, ...]) -> bool:
    """Compares bit by bit, at each width, every number of rows with all of them."""
    return _equal(decoder, rows, widths, range(1, rows))


def _equal(decoder: Decoder, rows: int, widths: tuple[int, ...], extents: Collection[int]) -> bool:
    generator = torch.Generator().manual_seed(0)
    shape = decoder.shape
    ids = torch.randint(shape.vocabulary, (rows,), generator=generator).tolist()
    equal = True
    for width in widths:
        pool = _one_layer_pool(decoder, rows, width, generator)
        lengths = torch.randint(width // 2, width, (rows,), generator=generator).tolist()
        places = [Place(pool, row) for row in range(rows)]
        whole = decoder.decode(ids, lengths, places)
        for extent in sorted({*extents} & {*range(1, rows)}):
            part = decoder.decode(ids[:extent], lengths[:extent], places[:extent])
            equal = equal and torch.equal(part, whole[:extent])
    return equal


def _one_layer_pool(decoder: Decoder, rows: int, width: int, generator: torch.Generator) -> Pool:
    """A pool whose layers share one memory: as wide as the real one at a fraction of its size."""
    shape = decoder.shape
    one = torch.randn((1, rows, shape.kv_heads, width, shape.head_dim), generator=generator)
    every = one.to(decoder.device, decoder.dtype).expand(shape.layers, *one.shape[1:])
    return Pool(width, every, every.clone()[:1].expand_as(every))


# what is kept


def processor() -> str:
    """Its architecture and name."""
    name = _told_of_processor().get("model name", "").removeprefix(": ") or platform.processor()
    return f"{platform.machine()} {name}".strip()


def _processor() -> list[str]:
    """Its name and what it can do, by which kernels are chosen."""
    told = _told_of_processor()
    return [platform.machine(), told.get("model name", ""), told.get("flags", "")]


def _told_of_processor() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.is_file() else []
    return dict(line.split("\t", 1) for line in reversed(lines) if "\t" in line)


def _own_code() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _read(path: Path, facts: str) -> bool | None:
    """``None`` where nothing is kept, or other than was written."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        equal = kept["equal"]
        return equal if kept["digest"] == _digest(facts, equal) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(path: Path, facts: str, equal: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"equal": equal, "digest": _digest(facts, equal)}) + "\n", "utf-8")
    fresh.replace(path)


def _digest(facts: str, equal: bool) -> str:
    return hashlib.sha256(f"{facts} {equal}".encode()).hexdigest()
