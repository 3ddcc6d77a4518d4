"""A broken source is refused before anything is built: one line names the file, the tensor and the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dialogue.faults import ModelCorrupt, ModelFault
from model_runtime.prepare import prepare_model
from tests.support.packed_checkpoints import awq_tensors, gptq_tensors, known_layer, rewrite

_Q = "model.layers.1.self_attn.q_proj.weight"
_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def _prepare(source: Path, folder: Path, method: Any = "int8") -> None:
    prepare_model(str(source), name="tiny", method=method, folder=folder)


def _refused(source: Path, fault: type[ModelFault], words: str, method: Any = "int8") -> None:
    """By exactly this fault, in one line that does not send its reader to ``parley prepare``; nothing is left."""
    folder = source.parent / "made"
    with pytest.raises(ModelFault, match=words) as raised:
        _prepare(source, folder, method)
    assert type(raised.value) is fault
    assert "\n" not in raised.value.message
    assert "parley prepare" not in raised.value.message
    assert not [path for path in folder.iterdir() if path.is_dir()]


def _rewritten(checkpoint: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    weights = load_file(checkpoint / _FILE)
    change(weights)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, checkpoint / _FILE)


def _sharded(checkpoint: Path) -> None:
    """The same tensors in two files and an index."""
    weights = load_file(checkpoint / _FILE)
    (checkpoint / _FILE).unlink()
    half = sorted(weights)[: len(weights) // 2]
    parts = ({name: weights[name] for name in half}, {n: t for n, t in weights.items() if n not in half})
    for file, part in zip(_SHARDS, parts, strict=True):
        save_file(part, checkpoint / file)
    held = {name: file for file, part in zip(_SHARDS, parts, strict=True) for name in part}
    (checkpoint / _INDEX).write_text(json.dumps({"weight_map": held}))


@pytest.mark.parametrize("method", ["bf16", "int8", "int4", "checkpoint"])
@pytest.mark.parametrize("damage", ["truncated", "flipped length", "flipped name", "not safetensors"])
def test_a_damaged_file_is_named(damage: str, method: str, tiny_checkpoint: Path) -> None:
    """Cut off, a byte of the header changed, or something else altogether; also where vLLM is to read it."""
    file = tiny_checkpoint / _FILE
    data = bytearray(file.read_bytes())
    if damage == "truncated":
        del data[-1000:]
    elif damage == "flipped length":
        data[3] ^= 1
    elif damage == "flipped name":
        data[8] ^= 0x80
    else:
        data[:] = b"<html>no such file</html>"
    file.write_bytes(data)
    _refused(tiny_checkpoint, ModelCorrupt, rf"tiny/{_FILE}: cannot be read as safetensors .*fetch it again", method)


@pytest.mark.parametrize("method", ["int8", "checkpoint"])
@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda at: (at / _SHARDS[1]).unlink(), rf"{_SHARDS[1]} is missing, and {_INDEX} names it: fetch this file"),
        (
            lambda at: (at / _SHARDS[1]).write_bytes((at / _SHARDS[0]).read_bytes()),
            rf"{_SHARDS[0]}: .* is not in it, as {_INDEX} says",
        ),
        (lambda at: (at / _INDEX).write_text("{"), rf"{_INDEX}: is no index of safetensors"),
        (lambda at: (at / _INDEX).write_text('{"weight_map": 3}'), rf"{_INDEX}: is no index of safetensors"),
    ],
    ids=["missing", "another shard", "no json", "no map"],
)
def test_the_index_is_believed(
    break_it: Callable[[Path], object], words: str, method: str, tiny_checkpoint: Path
) -> None:
    """Whole shards are prepared; one that is missing, or that holds something else, is named."""
    _sharded(tiny_checkpoint)
    _prepare(tiny_checkpoint, tiny_checkpoint.parent / "whole", method)
    break_it(tiny_checkpoint)
    _refused(tiny_checkpoint, ModelCorrupt, words, method)


def _set(name: str, make: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], None]:
    return lambda weights: weights.update({name: make(weights[name])})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop(_Q), rf"tiny: {_Q} is in none of its safetensors: give the weights and"),
        (lambda weights: weights.pop("lm_head.weight"), r"lm_head\.weight is in none"),
        (_set(_Q, lambda t: t[:, :3]), rf"{_FILE}: {_Q} has the shape 64 x 3 and not 64 x 64"),
        (_set("model.norm.weight", lambda t: t[:5]), r"model\.norm\.weight has the shape 5 and not 64"),
        (_set(_Q, lambda t: t.to(torch.int32)), rf"{_FILE}: {_Q} holds I32 and not one of BF16.*: take a checkpoint"),
        (_set(_Q, lambda t: t.to(torch.bool)), rf"{_FILE}: {_Q} holds BOOL"),
    ],
    ids=["missing", "no head", "shape", "norm", "int32", "bool"],
)
def test_a_tensor_that_is_not_the_configs(
    change: Callable[[dict[str, Tensor]], None], words: str, tiny_checkpoint: Path
) -> None:
    """Missing, of another shape, or no weight at all."""
    _rewritten(tiny_checkpoint, change)
    _refused(tiny_checkpoint, ModelFault, words)


@pytest.mark.parametrize("method", ["bf16", "int8", "int4"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", [_Q, "model.norm.weight", "model.embed_tokens.weight"])
def test_a_weight_that_is_no_number(name: str, value: float, method: str, tiny_checkpoint: Path) -> None:
    """A single one among all of them, whatever is made of it."""

    def change(weights: dict[str, Tensor]) -> None:
        weights[name].view(-1)[-1] = value

    _rewritten(tiny_checkpoint, change)
    _refused(tiny_checkpoint, ModelCorrupt, rf"{_FILE}: {name} holds a NaN or an infinite number", method)


@pytest.mark.parametrize("method", ["gptq", "awq"])
@pytest.mark.parametrize(
    ("suffix", "make", "fault", "words"),
    [
        ("qweight", lambda t: t[:, :3], ModelFault, r"q_proj\.qweight has the shape \d+ x 3, which is no packing"),
        ("qweight", lambda t: t.to(torch.int64), ModelFault, r"q_proj\.qweight holds I64 and not codes"),
        ("scales", lambda t: t * float("nan"), ModelCorrupt, rf"{_FILE}: .*q_proj\.weight holds a NaN"),
    ],
    ids=["shape", "int64", "nan"],
)
def test_a_checkpoint_that_others_quantized(
    suffix: str,
    make: Callable[[Tensor], Tensor],
    fault: type[ModelFault],
    words: str,
    method: str,
    tiny_checkpoint: Path,
) -> None:
    """Its codes are held against what they unpack to."""

    def layer(name: str, weight: Tensor) -> dict[str, Tensor]:
        known = known_layer(weight.shape[0], weight.shape[1], 32)
        return awq_tensors(name, known) if method == "awq" else gptq_tensors(name, known)

    told = {"quant_method": method, "bits": 4, "group_size": 32}
    source = rewrite(tiny_checkpoint, tiny_checkpoint.parent / "packed", told, layer)
    _rewritten(source, _set(f"{_Q.removesuffix('.weight')}.{suffix}", make))
    _refused(source, fault, words, method)


@pytest.mark.parametrize("method", ["int8", "none"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"this is no gguf at all" * 50, r"model\.gguf: is no GGUF, for it begins with b'this'"),
        (b"", r"model\.gguf: is no GGUF"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 200, r"model\.gguf: cannot be read as GGUF .*fetch it again"),
        (b"GGUF\x03\0\0\0", r"model\.gguf: cannot be read as GGUF"),
        (b"GGUF" + b"\0" * 200, r"model\.gguf: cannot be read as GGUF"),
    ],
    ids=["text", "empty", "rubbish", "cut off", "zeros"],
)
def test_a_gguf_that_is_none(data: bytes, words: str, method: str, tmp_path: Path) -> None:
    """By its first bytes, or by what is behind them."""
    source = tmp_path / "model.gguf"
    source.write_bytes(data)
    _refused(source, ModelCorrupt, words, method)


@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        ("{", ModelCorrupt, r"config\.json: is no JSON"),
        ("[]", ModelCorrupt, r"config\.json: is no JSON object"),
        (None, ModelFault, r"config\.json: hidden_size is None and must be a whole number"),
    ],
)
def test_a_config_that_is_none(text: str | None, fault: type[ModelFault], words: str, tiny_checkpoint: Path) -> None:
    """No JSON, or without what the decoder is made of."""
    path = tiny_checkpoint / "config.json"
    if text is None:
        config = json.loads(path.read_text())
        del config["hidden_size"]
        text = json.dumps(config)
    path.write_text(text)
    _refused(tiny_checkpoint, fault, words)
