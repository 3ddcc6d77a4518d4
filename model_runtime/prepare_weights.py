"""The weights of a source, one layer at a time, as they are to be held: a GGUF's, or those of a safetensors folder."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dialogue.faults import ModelFault, ModelMissing
from model_runtime.source_files import read_config, reading_gguf

if TYPE_CHECKING:
    from torch import Tensor

    from model_runtime.checkpoint import Foreign
    from model_runtime.quantize import Method

__all__ = ["Layers", "open_source"]

_TEXT_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_TEMPLATE = "chat_template.jinja"

Layers = Iterator[tuple[str, Iterable[tuple[str, "Tensor"]], int]]
"""Each weight's name, the tensors that hold it in the prepared file, and how many numbers it has."""


@contextlib.contextmanager
def open_source(
    path: Path, building: Path, method: Method | Foreign, progress: Callable[[str, float], None]
) -> Iterator[tuple[dict[str, Any], Layers, int]]:
    """Config, weights as ``method`` holds them, and how many there are at most; texts are copied into ``building``.

    Raises :class:`ModelMissing` without a fast tokenizer, :class:`ModelFault` without a chat template in a GGUF, or
    where method and checkpoint, or config and weights do not meet, :class:`ModelCorrupt` where the source is damaged;
    so do the weights while they are read.
    """
    from model_runtime.architecture import Architecture
    from model_runtime.checkpoint import Weights, dense_weights, foreign_layers, how_quantized, refuse_mismatch
    from model_runtime.source_check import finite, refuse_unfit

    if path.is_file():
        refuse_mismatch(path, {}, method)
        config, tensors = _read_gguf(path, building, progress)
        yield config, finite(_held(iter(tensors.items()), cast("Method", method)), lambda name: path), len(tensors)
        return
    config = _read_texts(path, building)
    told = how_quantized(path, config)
    config.pop("quantization_config", None)
    refuse_mismatch(path, told, method)
    shape = Architecture.from_config(config)
    with Weights(path) as weights:
        refuse_unfit(weights, shape, path)
        if method == "gptq" or method == "awq":
            layers = foreign_layers(weights, told, method)
        else:
            layers = _held(dense_weights(weights, told), method)
        yield config, finite(layers, weights.path), len(weights)


def _held(tensors: Iterator[tuple[str, Tensor]], method: Method) -> Layers:
    from model_runtime.quantize import quantize_tensor

    for name, tensor in tensors:
        yield name, quantize_tensor(name, tensor, method), tensor.numel()


def _read_gguf(
    path: Path, building: Path, progress: Callable[[str, float], None]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Through transformers, which undoes GGUF's own order of the attention weights."""
    with _quiet():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        progress(f"reading the tokenizer of {path.name}", 0.1)
        with reading_gguf(path):
            tokenizer = AutoTokenizer.from_pretrained(**where)
        tokenizer.save_pretrained(building)
        progress(f"reading the weights of {path.name}", 0.3)
        with reading_gguf(path):
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "dtype", "id2label", "label2id"):
        config.pop(key, None)
    config["architectures"] = [type(model).__name__]
    weights: dict[str, Tensor] = model.state_dict()
    if not (building / _TEMPLATE).is_file():
        raise ModelFault(f"{path} holds no chat template: put {_TEMPLATE} beside a safetensors checkpoint instead")
    return config, weights


def _read_texts(path: Path, building: Path) -> dict[str, Any]:
    """Copies what is no weight, and gives the config."""
    for file in (*_TEXT_FILES, _TEMPLATE):
        if (path / file).is_file():
            shutil.copyfile(path / file, building / file)
    if not (building / "tokenizer.json").is_file():
        raise ModelMissing(f"{path / 'tokenizer.json'} is missing: save the checkpoint with its fast tokenizer")
    return read_config(path / "config.json")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Loading draws progress bars and warns about kernels we do not use; our own progress is shown instead."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
