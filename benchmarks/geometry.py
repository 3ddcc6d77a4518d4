"""Decoders of a real model's shape with random weights, made on the device: no checkpoint, nothing to fetch.

What a product costs does not depend on the numbers in it. What is said with such weights is noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor

from model_runtime.architecture import Architecture
from model_runtime.decoder import Decoder
from model_runtime.linear import GROUP

__all__ = ["GEOMETRIES", "Held", "RandomWeights", "random_decoder"]

Held = Literal["bf16", "int4"]
_QWEN: dict[str, Any] = {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": False, "eos_token_id": 151643}
GEOMETRIES: dict[str, dict[str, Any]] = {
    # config.json of huggingface.co/deepseek-ai/DeepSeek-R1-Distill-Qwen-7B
    "R1-Distill-Qwen-7B": _QWEN
    | {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000,
    },
    # config.json of huggingface.co/deepseek-ai/DeepSeek-R1-Distill-Qwen-32B
    "R1-Distill-Qwen-32B": _QWEN
    | {
        "hidden_size": 5120,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "vocab_size": 152064,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
    },
    # ours, to see the script run where there is no GPU
    "small": _QWEN
    | {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000,
    },
}
_SPREAD = 0.02
"""Standard deviation of the weights, as they are initialised: activations stay finite."""


def random_decoder(config: dict[str, Any], held: Held, device: torch.device) -> Decoder:
    """In bf16. Raises torch's own error where the device has no room for it."""
    shape = Architecture.from_config(config)
    weights = RandomWeights(shape, held, device)
    return Decoder(shape, cast("dict[str, Tensor]", weights), torch.bfloat16)


class RandomWeights(Mapping[str, Tensor]):
    """The tensors of a prepared file by their names, each made when it is asked for: a decoder copies what it takes,
    and a large model would not fit twice."""

    def __init__(self, shape: Architecture, held: Held, device: torch.device) -> None:
        self._device = device
        self._specs = dict(_specs(shape, held))

    def __getitem__(self, name: str) -> Tensor:
        size, dtype = self._specs[name]
        if dtype == torch.bfloat16:
            made = torch.empty(size, dtype=dtype, device=self._device)
            return made.fill_(_SPREAD / 8) if name.endswith("_scale") else made.normal_(std=_SPREAD)
        low, high = (0, 256) if dtype == torch.uint8 else (-8, 8)
        return torch.randint(low, high, size, dtype=dtype, device=self._device)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def step_bytes(self) -> int:
        """What one decode step reads of them at least: all but the table, of which it reads a row a token."""
        sizes = (
            torch.Size(size).numel() * dtype.itemsize
            for name, (size, dtype) in self._specs.items()
            if "embed_tokens" not in name
        )
        return sum(sizes)


_Spec = tuple[str, tuple[tuple[int, ...], torch.dtype]]


def _specs(shape: Architecture, held: Held) -> Iterator[_Spec]:
    """Names, sizes and types as ``quantize`` writes them."""
    yield from _table("model.embed_tokens.weight", shape, held)
    yield from _table("lm_head.weight", shape, held)
    yield "model.norm.weight", ((shape.hidden,), torch.bfloat16)
    sizes = {
        "self_attn.q_proj": (shape.heads * shape.head_dim, shape.hidden),
        "self_attn.k_proj": (shape.kv_heads * shape.head_dim, shape.hidden),
        "self_attn.v_proj": (shape.kv_heads * shape.head_dim, shape.hidden),
        "self_attn.o_proj": (shape.hidden, shape.heads * shape.head_dim),
        "mlp.gate_proj": (shape.intermediate, shape.hidden),
        "mlp.up_proj": (shape.intermediate, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.intermediate),
    }
    for index in range(shape.layers):
        layer = f"model.layers.{index}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{norm}.weight", ((shape.hidden,), torch.bfloat16)
        for name, (outputs, inputs) in sizes.items():
            yield from _linear(f"{layer}.{name}.weight", outputs, inputs, held)
            if name[-6:] in ("q_proj", "k_proj", "v_proj"):
                yield f"{layer}.{name}.bias", ((outputs,), torch.bfloat16)


def _linear(name: str, outputs: int, inputs: int, held: Held) -> Iterator[_Spec]:
    if held == "bf16":
        yield name, ((outputs, inputs), torch.bfloat16)
        return
    yield f"{name}_int4", ((outputs, inputs // 2), torch.uint8)
    for what in ("scale", "zero"):
        yield f"{name}_{what}", ((outputs, inputs // GROUP), torch.bfloat16)


def _table(name: str, shape: Architecture, held: Held) -> Iterator[_Spec]:
    size = (shape.vocabulary, shape.hidden)
    if held == "bf16":
        yield name, (size, torch.bfloat16)
        return
    yield f"{name}_int8", (size, torch.int8)
    yield f"{name}_scale", (size[:1], torch.bfloat16)
