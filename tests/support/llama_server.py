"""A real server of llama.cpp, on the tiny model as a GGUF: ``PARLEY_TEST_LLAMA_SERVER`` is the path of its binary."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.tiny_model import CONFIG, VOCABULARY

__all__ = ["llama_server", "tiny_gguf"]

_SECONDS = 60
_CONTROL, _NORMAL, _USER_DEFINED = 3, 1, 4
"""llama.cpp's kinds of tokens: one of control is never shown."""
_NAMES = {
    "model.embed_tokens": "token_embd",
    "lm_head": "output",
    "model.norm": "output_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@contextlib.contextmanager
def llama_server(checkpoint: Path, *, longest: int, rows: int) -> Iterator[str]:
    """Its address; ended, by its pid, at the end. Skips, aloud, where there is none."""
    binary = os.environ.get("PARLEY_TEST_LLAMA_SERVER")
    if not binary:
        pytest.skip("PARLEY_TEST_LLAMA_SERVER names no llama-server: llama.cpp is not tested here")
    port, model = free_port(), tiny_gguf(checkpoint, checkpoint.parent / "tiny.gguf")
    command = [binary, "--model", str(model), "--alias", "tiny", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--ctx-size", str(rows * longest), "--parallel", str(rows), "--threads", "1"]
    # sampling is what the request says: nothing of the server's own is put under it
    command += ["--top-k", "0", "--min-p", "0"]
    log = checkpoint.parent / "llama-server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
    try:
        _wait(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/health", trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"llama-server was not ready within {_SECONDS} s:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def tiny_gguf(checkpoint: Path, path: Path) -> Path:
    """The checkpoint's weights and vocabulary in float32 at ``path``."""
    from gguf import GGUFWriter
    from safetensors.numpy import load_file

    heads, kv_heads, head = (CONFIG[name] for name in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(CONFIG["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_vocab_size(len(VOCABULARY))
    _add_vocabulary(writer)
    for name, tensor in load_file(checkpoint / "model.safetensors").items():
        if name.endswith("q_proj.weight"):
            tensor = _interleaved(tensor, heads)
        elif name.endswith("k_proj.weight"):
            tensor = _interleaved(tensor, kv_heads)
        writer.add_tensor(_named(name), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: Any) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["▁" if token == " " else token for token in VOCABULARY])
    writer.add_token_scores([0.0] * len(VOCABULARY))
    kinds = {"</s>": _CONTROL, **dict.fromkeys(("<unk>", "<s>", "<think>", "</think>"), _USER_DEFINED)}
    writer.add_token_types([kinds.get(token, _NORMAL) for token in VOCABULARY])
    writer.add_bos_token_id(CONFIG["bos_token_id"])
    writer.add_eos_token_id(CONFIG["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def _named(name: str) -> str:
    """llama.cpp's name for a tensor."""
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        layer, _, part = stem.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{_NAMES[part]}.weight"
    return f"{_NAMES[stem]}.weight"


def _interleaved(weight: Any, heads: int) -> Any:
    """Rotated pairs side by side, as llama.cpp has them, and not half a head apart."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns).copy()
