"""The written-out decoder computes what transformers computes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from model_runtime.architecture import Architecture
from model_runtime.cache import Cache, Place
from model_runtime.decoder import Decoder
from model_runtime.linear import GROUP, Int4, Int8, load_linear
from model_runtime.loading import load
from model_runtime.probe import extents_equal
from model_runtime.quantize import quantize_tensor

_SHAPE: dict[str, Any] = {
    "num_hidden_layers": 3,
    "hidden_size": 96,
    "intermediate_size": 64,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_KINDS = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", {"tie_word_embeddings": True}),
    "llama3": ("LlamaConfig", "LlamaForCausalLM", {"rope_parameters": _LLAMA3}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {}),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_logits_are_those_of_transformers(kind: str) -> None:
    """In fp32, prefill in chunks, single steps and replay give the reference's logits at every position."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        torch.manual_seed(3)
        config_name, model_name, extra = _KINDS[kind]
        config = getattr(transformers, config_name)(**_SHAPE, **extra)
        model = getattr(transformers, model_name)(config).eval()
    for name, parameter in model.named_parameters():  # norms and biases start as ones and zeros: make them count
        if "norm" in name or "bias" in name:
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
    ids = torch.randint(300, (120,)).tolist()
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0]

    shape = Architecture.from_config({**config.to_dict(), "architectures": [model_name]})
    decoder = Decoder(shape, model.state_dict(), torch.float32)
    cache = Cache(shape, rows=3, widths=(64, 128), dtype=torch.float32, device=torch.device("cpu"))
    row = 1
    prefilled = decoder.prefill(ids[:40], 0, cache.hold(row, 40))
    again = decoder.prefill(ids[40:50], 40, cache.hold(row, 50))
    replayed = decoder.replay(ids[50:53], 50, cache.hold(row, 53), 4)
    torch.testing.assert_close(prefilled, expected[39], atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(again, expected[49], atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(replayed, expected[52], atol=2e-4, rtol=1e-3)
    for position in range(53, 120):  # over the border of the first width
        place = cache.hold(row, position + 1)
        logits = decoder.decode([0, ids[position]], [0, position], [None, place])
        torch.testing.assert_close(logits[row], expected[position], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("method", ["int8", "int4"])
def test_quantized_products_are_close_and_row_by_row(method: str) -> None:
    """Quantized weights give nearly the dense product, and a row's result does not depend on the others."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 4 * GROUP, generator=generator) * 0.1
    bias = torch.randn(96, generator=generator)
    held = dict(quantize_tensor("layer.weight", weight, method))  # type: ignore[arg-type]
    linear = load_linear({**held, "layer.bias": bias}, ["layer"], torch.bfloat16)
    assert isinstance(linear, Int8 if method == "int8" else Int4)
    x = torch.randn(8, 4 * GROUP, generator=generator).bfloat16()
    dense = x.float() @ weight.T + bias
    error = (linear(x).float() - dense).norm() / dense.norm()
    assert error < (0.02 if method == "int8" else 0.1)
    assert all(torch.equal(linear(x[i : i + 1])[0], linear(x)[i]) for i in range(8))


def test_weights_of_four_bits_are_kept_nearly_whole() -> None:
    """A source whose groups of 32 already hold sixteen levels loses no more than bf16 does."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(16, (64, 2, GROUP), generator=generator).float()
    levels[..., 0], levels[..., 1] = 0, 15
    scale, least = torch.rand(64, 2, 1, generator=generator) + 0.1, torch.randn(64, 2, 1, generator=generator)
    weight = (levels * scale + least).view(64, -1)
    held = dict(quantize_tensor("layer.weight", weight, "int4"))
    linear = load_linear(held, ["layer"], torch.bfloat16)
    restored = linear(torch.eye(2 * GROUP, dtype=torch.bfloat16)).T.float()
    assert float((restored - weight).norm() / weight.norm()) < 0.01


def test_a_row_keeps_its_content_when_it_grows_and_memory_is_bounded() -> None:
    """Moving to a wider pool copies keys and values; beyond the budget the row keeps its place."""
    shape = Architecture.from_config({**_SHAPE, "model_type": "llama"})
    small = 2 * 3 * 2 * 2 * 16 * 16 * 4  # keys and values, layers, rows, kv heads, width, head dim, fp32
    cache = Cache(shape, rows=2, widths=(16, 32, 64), dtype=torch.float32, device=torch.device("cpu"), budget=3 * small)
    place = cache.hold(1, 16)
    place.pool.keys[:, place.number] = 5.0
    grown = cache.hold(1, 17)
    assert grown.pool.width == 32
    assert bool((grown.pool.keys[:, grown.number, :, :16] == 5).all())
    with pytest.raises(MemoryError):
        cache.hold(1, 33)
    assert cache.place_of(1) == grown
    cache.release(1)
    assert cache.hold(0, 16).pool.width == 16
    with pytest.raises(MemoryError, match="do not fit the widest row"):
        cache.hold(0, 65)


def test_a_row_s_logits_do_not_depend_on_the_place_where_it_stands(model_folder: Path) -> None:
    """Two widths at once, rows that stand at other numbers than their own: the bits are those alone, over whole pools
    and, where the probe allows it, over the places in use."""
    decoder = load(model_folder, torch.device("cpu")).decoder
    prompts = [list(range(40, 40 + length)) for length in (30, 280, 60, 300)]

    def standing(rows: list[int]) -> list[Place]:
        cache = Cache(
            decoder.shape, rows=4, widths=(256, 512), dtype=torch.bfloat16, device=torch.device("cpu"), budget=1 << 30
        )
        for row in rows:
            for start in range(0, len(prompts[row]), 256):
                chunk = prompts[row][start : start + 256]
                decoder.prefill(chunk, start, cache.hold(row, start + len(chunk)))
        return [cache.hold(row, len(prompts[row])) for row in rows]

    alone = []
    for row, prompt in enumerate(prompts):
        places = [*standing([row]), None, None, None]
        alone.append(decoder.decode([7, 0, 0, 0], [len(prompt), 0, 0, 0], places, whole=True)[0])
    for order in ([3, 1, 0, 2], [0, 1, 2, 3]):
        for whole in {True, not extents_equal(decoder, 4, (256, 512))}:
            places = standing(order)
            lengths = [len(prompts[row]) for row in order]
            made = decoder.decode([7] * 4, lengths, places, whole=whole)
            for index, row in enumerate(order):
                assert torch.equal(made[index], alone[row])


def test_a_place_that_came_free_is_the_next_one_s() -> None:
    """The lowest first, so that few places stand between those in use."""
    shape = Architecture.from_config({**_SHAPE, "model_type": "llama"})
    cache = Cache(shape, rows=3, widths=(16, 32), dtype=torch.float32, device=torch.device("cpu"), budget=1 << 24)
    numbers = [cache.hold(row, 10).number for row in range(3)]
    assert numbers == [0, 1, 2]
    assert (cache.hold(0, 20).pool.width, cache.hold(0, 20).number) == (32, 0)
    assert cache.hold(2, 20).number == 1
    cache.release(1)
    assert cache.hold(1, 5).number == 0
