"""What a checkpoint's ``config.json`` says of its shape: Llama, Qwen2 and Qwen3 decoders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from dialogue.faults import ModelFault

__all__ = ["ARCHITECTURES", "Architecture", "rope_frequencies"]

ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_BY_TYPE = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a decoder. ``group`` query heads share one key-value head."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    eps: float
    tied: bool
    qk_norm: bool
    rope: dict[str, Any]
    eos_token_ids: tuple[int, ...]
    biased: tuple[str, ...] = ()
    """Which of the attention's projections (q, k, v, o) add a bias."""

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """What a checkpoint must hold: each tensor's name and shape; a linear layer's is [outputs, inputs]."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sizes: dict[str, tuple[int, ...]] = {
            "self_attn.q_proj.weight": (queries, self.hidden),
            "self_attn.k_proj.weight": (keys, self.hidden),
            "self_attn.v_proj.weight": (keys, self.hidden),
            "self_attn.o_proj.weight": (self.hidden, queries),
            "mlp.gate_proj.weight": (self.intermediate, self.hidden),
            "mlp.up_proj.weight": (self.intermediate, self.hidden),
            "mlp.down_proj.weight": (self.hidden, self.intermediate),
            "input_layernorm.weight": (self.hidden,),
            "post_attention_layernorm.weight": (self.hidden,),
        }
        sizes |= {f"self_attn.{part}_proj.bias": sizes[f"self_attn.{part}_proj.weight"][:1] for part in self.biased}
        if self.qk_norm:
            sizes |= {f"self_attn.{part}_norm.weight": (self.head_dim,) for part in "qk"}
        table = {"model.embed_tokens.weight": (self.vocabulary, self.hidden), "model.norm.weight": (self.hidden,)}
        head = {} if self.tied else {"lm_head.weight": (self.vocabulary, self.hidden)}
        layers = {f"model.layers.{i}.{name}": size for i in range(self.layers) for name, size in sizes.items()}
        return table | head | layers

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Architecture:
        """Raises :class:`ModelFault` where this runtime does not know the decoder."""
        name = (config.get("architectures") or [_BY_TYPE.get(config.get("model_type", ""), "?")])[0]
        if name not in ARCHITECTURES:
            raise ModelFault(
                f"config.json: architectures is {name!r}; this engine runs {', '.join(ARCHITECTURES)}: "
                "take such a checkpoint",
                field="architectures",
            )
        if config.get("use_sliding_window"):
            raise ModelFault("config.json: use_sliding_window is true; this engine attends to everything")
        eos = config.get("eos_token_id")
        hidden, heads = _count(config, "hidden_size"), _count(config, "num_attention_heads")
        biased = ("q", "k", "v") if name == "Qwen2ForCausalLM" else ("q", "k", "v", "o")
        return cls(
            layers=_count(config, "num_hidden_layers"),
            hidden=hidden,
            intermediate=_count(config, "intermediate_size"),
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            vocabulary=_count(config, "vocab_size"),
            context=_count(config, "max_position_embeddings"),
            eps=config["rms_norm_eps"],
            tied=bool(config.get("tie_word_embeddings")),
            qk_norm=name == "Qwen3ForCausalLM",
            rope=_rope(config),
            eos_token_ids=tuple(eos) if isinstance(eos, list) else (() if eos is None else (eos,)),
            biased=biased if name == "Qwen2ForCausalLM" or config.get("attention_bias") else (),
        )


def _count(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ModelFault(
            f"config.json: {key} is {value!r} and must be a whole number above 0: give the checkpoint's own file",
            field=key,
        )
    return value


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """``rope_parameters`` as transformers 5 writes it, or the older ``rope_theta`` and ``rope_scaling``."""
    rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    rope["rope_type"] = rope.get("rope_type") or rope.get("type") or "default"
    rope.setdefault("rope_theta", config.get("rope_theta", 10_000.0))
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise ModelFault(
            f"config.json: rope_type is {rope['rope_type']!r}; this engine knows default, linear and llama3",
            field="rope_parameters",
        )
    return rope


def rope_frequencies(shape: Architecture) -> list[float]:
    """Angle per position of each pair of dimensions, [head_dim / 2].

    Rotary embedding of Su et al. 2021; ``linear`` is position interpolation, ``llama3`` the frequency-wise
    interpolation of Llama 3.1.
    """
    rope, dim = shape.rope, shape.head_dim
    base = [rope["rope_theta"] ** (-i / dim) for i in range(0, dim, 2)]
    if rope["rope_type"] == "linear":
        return [f / rope["factor"] for f in base]
    if rope["rope_type"] == "default":
        return base
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    trained = rope["original_max_position_embeddings"]
    scaled = []
    for f in base:
        turns = trained * f / (2 * math.pi)  # full turns within the trained context
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        scaled.append(f * (smooth + (1 - smooth) / factor))
    return scaled
