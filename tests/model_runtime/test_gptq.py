"""Layers that GPTQ and AWQ packed are held by their own codes: the product is that of the dequantized weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dialogue.faults import ModelFault
from model_runtime.awq import awq_layer
from model_runtime.gptq import gptq_layer
from model_runtime.linear import Int4, Int8, Joined, load_linear
from tests.support.packed_checkpoints import Known, awq_tensors, gptq_tensors, known_layer

_INPUTS, _OUTPUTS = 256, 64


def _gptq(layer: Known, *, bits: int = 4, v2: bool = False, name: str = "layer", **told: Any) -> dict[str, Tensor]:
    tensors = gptq_tensors(name, layer, bits=bits, v2=v2)
    told = {"bits": bits, "checkpoint_format": "gptq_v2" if v2 else "gptq"} | told
    return dict(gptq_layer(name, lambda suffix: tensors.get(f"{name}.{suffix}"), told).held())


def _restored(held: dict[str, Tensor], *names: str) -> Tensor:
    """[outputs, inputs] as the kernel computes it: the product with each unit vector."""
    linear = load_linear(held, list(names or ("layer",)), torch.bfloat16)
    return linear(torch.eye(_INPUTS, dtype=torch.bfloat16)).T.double()


@pytest.mark.parametrize("act_order", [False, True], ids=["in order", "act-order"])
@pytest.mark.parametrize("v2", [False, True], ids=["gptq", "gptq_v2"])
@pytest.mark.parametrize("sym", [True, False], ids=["sym", "asym"])
@pytest.mark.parametrize("group", [32, 64, 128, _INPUTS])
def test_a_gptq_layer_is_held_by_its_own_codes(group: int, sym: bool, v2: bool, act_order: bool) -> None:
    """Symmetric ones to the last bit of bf16; of others the zero is rounded to bf16 too."""
    layer = known_layer(_OUTPUTS, _INPUTS, group, sym=sym, act_order=act_order)
    held = _gptq(layer, v2=v2)
    assert ("layer.weight_order" in held) == (act_order and group < _INPUTS)
    dense, restored = layer.dense(), _restored(held)
    if sym:
        assert torch.equal(restored, dense.bfloat16().double())
    # half a unit in the last place of the zero, at most 8 scales, and of the result
    largest = layer.scales.double().max()
    assert float((restored - dense).abs().max()) <= largest * (8 + 15) * 2**-8


def test_the_product_is_the_dense_one() -> None:
    """On many inputs at once, in bf16, with a bias; and each row by itself gives the same."""
    layer = known_layer(_OUTPUTS, _INPUTS, 128, act_order=True)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, _INPUTS, generator=generator).bfloat16()
    bias = torch.randn(_OUTPUTS, generator=generator).bfloat16()
    linear = load_linear({**_gptq(layer), "layer.bias": bias}, ["layer"], torch.bfloat16)
    assert isinstance(linear, Int4)
    dense = x.double() @ layer.dense().T + bias.double()
    assert float((linear(x).double() - dense).norm() / dense.norm()) < 0.005
    assert all(torch.equal(linear(x[i : i + 1])[0], linear(x)[i]) for i in range(5))


def test_without_g_idx_groups_lie_one_after_the_other() -> None:
    """Then the number of bits is the one of the config."""
    tensors = gptq_tensors("layer", layer := known_layer(_OUTPUTS, _INPUTS, 64))
    del tensors["layer.g_idx"]
    held = gptq_layer("layer", lambda suffix: tensors.get(f"layer.{suffix}"), {"bits": 4, "group_size": 64}).held()
    assert torch.equal(_restored(dict(held)), layer.dense().bfloat16().double())


@pytest.mark.parametrize(
    ("second", "joined"),
    [
        ({"seed": 1}, False),
        ({"seed": 1, "group": 128}, True),
        ({"seed": 1, "act_order": True}, True),
    ],
)
def test_layers_held_alike_are_one_product(second: dict[str, Any], joined: bool) -> None:
    """Others are a product each; what comes out is the same."""
    first = known_layer(_OUTPUTS, _INPUTS, 32)
    other = known_layer(_OUTPUTS, _INPUTS, second.pop("group", 32), **second)
    held = _gptq(first, name="q") | _gptq(other, name="k")
    assert isinstance(load_linear(held, ["q", "k"], torch.bfloat16), Joined) == joined
    assert torch.equal(_restored(held, "q", "k"), torch.cat([first.dense(), other.dense()]).bfloat16().double())


def test_layers_of_one_act_order_are_one_product() -> None:
    """As query, key and value usually have it, for they share their inputs."""
    first, other = (known_layer(_OUTPUTS, _INPUTS, 32, act_order=True) for _ in range(2))
    held = _gptq(first, name="q") | _gptq(other, name="k")
    assert not isinstance(load_linear(held, ["q", "k"], torch.bfloat16), Joined)
    assert torch.equal(_restored(held, "q", "k"), torch.cat([first.dense(), other.dense()]).bfloat16().double())


def test_eight_bits_without_groups_are_our_int8() -> None:
    """To the last bit; in groups they fit no kernel of ours, and the way out is told."""
    layer = known_layer(_OUTPUTS, _INPUTS, _INPUTS, bits=8)
    held = _gptq(layer, bits=8)
    assert isinstance(load_linear(held, ["layer"], torch.bfloat16), Int8)
    assert torch.equal(_restored(held), layer.dense().bfloat16().double())
    for unfit in (
        known_layer(_OUTPUTS, _INPUTS, 32, bits=8),
        known_layer(_OUTPUTS, _INPUTS, _INPUTS, bits=8, sym=False),
    ):
        with pytest.raises(ModelFault, match=r"layer: holds 8 bits in groups of .* --method int8"):
            _gptq(unfit, bits=8)


@pytest.mark.parametrize("sym", [True, False], ids=["sym", "asym"])
def test_an_awq_layer_is_held_by_its_own_codes(sym: bool) -> None:
    """In the packing of AutoAWQ's gemm."""
    layer = known_layer(_OUTPUTS, _INPUTS, 128, sym=sym)
    tensors = awq_tensors("layer", layer)
    held = dict(
        awq_layer("layer", lambda suffix: tensors.get(f"layer.{suffix}"), {"bits": 4, "version": "gemm"}).held()
    )
    dense, restored = layer.dense(), _restored(held)
    assert float((restored - dense).abs().max()) <= layer.scales.double().max() * (8 + 15) * 2**-8


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"checkpoint_format": "marlin"}, "'marlin': save it as gptq"),
        ({"format": "bitblas", "checkpoint_format": ""}, "bitblas"),
    ],
)
def test_other_gptq_formats_are_refused(told: dict[str, str], words: str) -> None:
    """By name, with the way out."""
    with pytest.raises(ModelFault, match=words):
        _gptq(known_layer(_OUTPUTS, _INPUTS, 32), **told)


def test_what_does_not_fit_is_refused() -> None:
    """A missing part, groups of unequal size, bits and group sizes that no kernel takes, AWQ's other packings."""
    layer = known_layer(_OUTPUTS, _INPUTS, 32)
    tensors = gptq_tensors("layer", layer)
    with pytest.raises(ModelFault, match="is missing"):
        gptq_layer("layer", lambda suffix: None, {})
    for damage in (
        {"g_idx": torch.zeros(_INPUTS, dtype=torch.int32)},
        {"g_idx": torch.full((_INPUTS,), 99, dtype=torch.int32)},
        {"scales": layer.scales[:, :9]},
        {"scales": layer.scales[:7], "qzeros": tensors["layer.qzeros"][:7]},
    ):
        changed = tensors | {f"layer.{suffix}": tensor for suffix, tensor in damage.items()}
        with pytest.raises(ModelFault, match="do not fit each other"):
            gptq_layer("layer", lambda suffix, of=changed: of.get(f"layer.{suffix}"), {}).held()
    with pytest.raises(ModelFault, match="has 2 bits"):
        _gptq(known_layer(_OUTPUTS, _INPUTS, 32, bits=2), bits=2)
    with pytest.raises(ModelFault, match="groups have 16 inputs"):
        _gptq(known_layer(_OUTPUTS, _INPUTS, 16))
    with pytest.raises(ModelFault, match="'gemv' of 4 bits"):
        awq_layer("layer", lambda suffix: None, {"version": "gemv"})
