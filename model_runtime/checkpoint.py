"""A safetensors checkpoint, read a layer at a time: dense, in FP8 blocks, or quantized by others (GPTQ, AWQ)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from dialogue.faults import ModelCorrupt, ModelFault

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Foreign", "Weights", "dense_weights", "foreign_layers", "how_quantized", "refuse_mismatch"]

Foreign = Literal["gptq", "awq"]
"""Methods of others whose codes are taken as they are."""
_LAYER = ".qweight"
_PARTS = ("qzeros", "scales", "g_idx")
_INDEX = "model.safetensors.index.json"
_AGAIN = "the source is damaged: fetch it again"


def how_quantized(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint's ``quantization_config``, empty where it is dense; old GPTQ has it in a file of its own."""
    told = dict(config.get("quantization_config") or {})
    beside = path / "quantize_config.json"
    if not told and beside.is_file():
        told = {"quant_method": "gptq"} | json.loads(beside.read_text("utf-8"))
    return told


class Weights:
    """The tensors of all files of a folder, each read when it is asked for. Close it, or use it with ``with``.

    Raises :class:`ModelCorrupt` where a file is damaged, or the folder lacks what its index names.
    """

    def __init__(self, folder: Path) -> None:
        self._stack, self._files, self._paths = ExitStack(), dict[str, Any](), dict[str, Path]()
        try:
            for file in sorted(folder.glob("*.safetensors")):
                opened = self._stack.enter_context(_opened(file))
                self._files |= dict.fromkeys(opened.keys(), opened)
                self._paths |= dict.fromkeys(opened.keys(), file)
            self._agree_with_index(folder / _INDEX)
        except BaseException:
            self._stack.close()
            raise

    def _agree_with_index(self, index: Path) -> None:
        for name, file in _indexed(index).items():
            there = index.parent / file
            if not there.is_file():
                raise ModelCorrupt(f"{there} is missing, and {index.name} names it: fetch this file of the source")
            if self._paths.get(name) != there:
                raise ModelCorrupt(f"{there}: {name} is not in it, as {index.name} says: {_AGAIN}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        return len(self._files)

    def names(self) -> list[str]:
        return list(self._files)

    def get(self, name: str) -> Tensor | None:
        file = self._files.get(name)
        return None if file is None else file.get_tensor(name)

    def header(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """How safetensors calls the tensor's type (``BF16``), and its shape; none of its numbers is read."""
        file = self._files.get(name)
        if file is None:
            return None
        told = file.get_slice(name)
        return told.get_dtype(), tuple(told.get_shape())

    def path(self, name: str) -> Path:
        """The file that holds it, or the codes it is packed in."""
        packed = f"{name.removesuffix('.weight')}{_LAYER}"
        return self._paths[name if name in self._paths else packed]

    def __getitem__(self, name: str) -> Tensor:
        return self._files[name].get_tensor(name)


def _opened(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="pt")
    except SafetensorError as error:
        raise ModelCorrupt(f"{file}: cannot be read as safetensors ({error}): {_AGAIN}") from error


def _indexed(index: Path) -> dict[str, str]:
    """Which file of the folder holds each tensor; empty without an index."""
    if not index.is_file():
        return {}
    try:
        held = json.loads(index.read_text("utf-8"))["weight_map"]
        return {str(name): Path(file).name for name, file in held.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelCorrupt(f"{index}: is no index of safetensors ({error!r}): {_AGAIN}") from error


def dense_weights(weights: Weights, told: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor by its name, FP8 dequantized; ``told`` is the quantization_config.

    Raises :class:`ModelFault` where the weights are quantized in another way.
    """
    from model_runtime.fp8 import BLOCK, SCALE, dequantize_blocks

    rows, columns = told.get("weight_block_size") or BLOCK
    for name in weights.names():
        if name.endswith(f".{SCALE}"):
            continue
        tensor = weights[name]
        if tensor.element_size() == 1 and tensor.is_floating_point():
            scale = weights.get(f"{name.removesuffix('.weight')}.{SCALE}")
            tensor = dequantize_blocks(name, tensor, scale, (rows, columns))
        yield name, tensor


def foreign_layers(
    weights: Weights, told: dict[str, Any], method: Foreign
) -> Iterator[tuple[str, list[tuple[str, Tensor]], int]]:
    """Each layer or other tensor: its name, the tensors that hold it in a prepared file, and how many weights it has.

    What the checkpoint left unquantized becomes bf16. Raises :class:`ModelFault` for a layer that cannot be held
    exactly.
    """
    import torch

    from model_runtime.awq import awq_layer
    from model_runtime.gptq import gptq_layer

    read = gptq_layer if method == "gptq" else awq_layer
    layers = {name.removesuffix(_LAYER) for name in weights.names() if name.endswith(_LAYER)}
    for name in weights.names():
        layer, _, suffix = name.rpartition(".")
        if layer in layers and suffix in _PARTS:
            continue
        if layer in layers and suffix == "qweight":
            grouped = read(layer, lambda part, layer=layer: weights.get(f"{layer}.{part}"), told)
            yield f"{layer}.weight", grouped.held(), grouped.codes.numel()
        else:
            tensor = weights[name].to(torch.bfloat16).contiguous()
            yield name, [(name, tensor)], tensor.numel()


def refuse_mismatch(path: Path, told: dict[str, Any], method: str) -> None:
    """Raises :class:`ModelFault` where a checkpoint held in this way cannot be prepared by ``method``."""
    held = told.get("quant_method")
    if method in ("gptq", "awq") and held != method:
        there = f"is quantized by {held!r}" if held else "is not quantized"
        make = (
            "; `parley model build --method gptq --calibration FILE --python PATH` makes one"
            if method == "gptq"
            else ""
        )
        raise ModelFault(f"{path} {there}: the method {method} takes a checkpoint that {method.upper()} made{make}")
    if held in ("gptq", "awq") and held != method:
        raise ModelFault(
            f"{path} is quantized already, by {held}: take the method {held}, or give the checkpoint it was made from"
        )
    if held not in (None, "gptq", "awq", "fp8"):
        raise ModelFault(
            f"{path} is quantized already, by {held!r}, which is not read here: give the checkpoint it was made from"
        )
