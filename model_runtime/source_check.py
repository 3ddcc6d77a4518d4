"""Whether a safetensors checkpoint is what its ``config.json`` says, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dialogue.faults import ModelCorrupt, ModelFault

if TYPE_CHECKING:
    from torch import Tensor

    from model_runtime.architecture import Architecture
    from model_runtime.checkpoint import Weights

__all__ = ["finite", "refuse_unfit"]

_FLOATS = ("BF16", "F16", "F32", "F64", "F8_E4M3")
_CODES = ("I32", "U32")
_OTHER = "give the weights and the config.json of one checkpoint"


def refuse_unfit(weights: Weights, shape: Architecture, folder: Path) -> None:
    """Reads the headers alone. Raises :class:`ModelFault` for a tensor that is missing, or has another shape or type
    than the decoder's; layers that others quantized are held against the shape they unpack to."""
    for name, size in shape.tensors().items():
        packed = f"{name.removesuffix('.weight')}.qweight"
        if (found := weights.header(name)) is not None:
            dtype, there = found
            _check(there == size, weights.path(name), name, f"has the shape {_by(there)} and not {_by(size)}: {_OTHER}")
            _check(
                dtype in _FLOATS,
                weights.path(name),
                name,
                f"holds {dtype} and not one of {', '.join(_FLOATS)}: take a checkpoint in bf16",
            )
        elif len(size) == 2 and (found := weights.header(packed)) is not None:
            _check_packed(weights.path(packed), packed, *found, size)
        else:
            raise ModelFault(f"{folder}: {name} is in none of its safetensors: {_OTHER}")


def _check_packed(path: Path, name: str, dtype: str, there: tuple[int, ...], size: tuple[int, ...]) -> None:
    """GPTQ packs the inputs, [inputs / n, outputs], AWQ the outputs, [inputs, outputs / n]."""
    (outputs, inputs), (rows, columns) = size, there if len(there) == 2 else (0, 0)
    fits = (columns == outputs and rows * 32 % inputs == 0) or (rows == inputs and columns * 32 % outputs == 0)
    _check(fits, path, name, f"has the shape {_by(there)}, which is no packing of {_by(size)}: {_OTHER}")
    _check(dtype in _CODES, path, name, f"holds {dtype} and not codes in words of 32 bits: fetch the checkpoint again")


def _check(fits: bool, path: Path, name: str, problem: str) -> None:
    if not fits:
        raise ModelFault(f"{path}: {name} {problem}")


def _by(size: Iterable[int]) -> str:
    return " x ".join(map(str, size)) or "of a single number"


def finite(
    layers: Iterator[tuple[str, Iterable[tuple[str, Tensor]], int]], path: Callable[[str], Path]
) -> Iterator[tuple[str, Iterable[tuple[str, Tensor]], int]]:
    """The same layers. Raises :class:`ModelCorrupt` at one that holds a NaN or an infinite number: quantizing keeps
    these in the layer's scales, so little has to be looked at. ``path`` gives the file that holds a tensor."""
    for layer, parts, count in layers:
        held = list(parts)
        if not all(bool(tensor.isfinite().all()) for _, tensor in held if tensor.is_floating_point()):
            raise ModelCorrupt(
                f"{path(layer)}: {layer} holds a NaN or an infinite number, which would be in every answer: the source "
                "is damaged, fetch it again or take another"
            )
        yield layer, held, count
