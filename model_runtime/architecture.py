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

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads

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
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            head_dim=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
            vocabulary=config["vocab_size"],
            context=config["max_position_embeddings"],
            eps=config["rms_norm_eps"],
            tied=bool(config.get("tie_word_embeddings")),
            qk_norm=name == "Qwen3ForCausalLM",
            rope=_rope(config),
            eos_token_ids=tuple(eos) if isinstance(eos, list) else (() if eos is None else (eos,)),
        )


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
