"""A random two-layer Llama whose tokens are single characters: any engine runs it in no time, and its text and its
token ids are the same thing."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["CONFIG", "VOCABULARY", "tensor_sizes", "tiny_model"]

_SPECIAL = ("<unk>", "<s>", "</s>", "<think>", "</think>")
_PRINTABLE = ("\n", *(chr(code) for code in range(32, 127)))
_CHINESE = tuple("的一是不了在人有我他这中大来上国个到说们为子和你地")
VOCABULARY = (*_SPECIAL, *_PRINTABLE, *_CHINESE, "\u2028", "é")
"""128 tokens; the last but one is a line separator, at which a careless reader of lines would cut an event in two."""

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_act": "silu",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,  # the smallest that vLLM has a kernel for
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def tiny_model(folder: Path, *, seed: int = 1) -> Path:
    """Its checkpoint in ``folder``: safetensors, config, tokenizer and template; ``seed`` decides the weights."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.randn(size, generator=generator) * 0.1 for name, size in tensor_sizes(len(VOCABULARY)).items()
    }
    # far from ties, so that kernels that sum in another order draw the same tokens
    weights["lm_head.weight"] *= 4
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"})
    )
    _save_tokenizer(folder / "tokenizer.json")
    return folder


def _save_tokenizer(path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models

    tokenizer = Tokenizer(models.BPE({token: id_ for id_, token in enumerate(VOCABULARY)}, [], unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL[:3]])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in _SPECIAL[3:]])
    tokenizer.save(str(path))


def tensor_sizes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama of two layers, 64 wide."""
    sizes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, 64),
        "lm_head.weight": (vocabulary, 64),
        "model.norm.weight": (64,),
    }
    for layer in range(2):
        name = f"model.layers.{layer}"
        sizes |= {
            f"{name}.self_attn.q_proj.weight": (64, 64),
            f"{name}.self_attn.k_proj.weight": (32, 64),
            f"{name}.self_attn.v_proj.weight": (32, 64),
            f"{name}.self_attn.o_proj.weight": (64, 64),
            f"{name}.mlp.gate_proj.weight": (96, 64),
            f"{name}.mlp.up_proj.weight": (96, 64),
            f"{name}.mlp.down_proj.weight": (64, 96),
            f"{name}.input_layernorm.weight": (64,),
            f"{name}.post_attention_layernorm.weight": (64,),
        }
    return sizes
