"""What vLLM is started with: what settings of ours decide, and under it what the site gives by vLLM's own names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dialogue.faults import ModelFault

__all__ = ["engine_arguments", "refuse_unusable"]

_OURS = {
    "model": "model.source",
    "tokenizer": "model.source",
    "served_model_name": "model.name",
    "max_model_len": "model.widths",
    "max_num_seqs": "model.rows",
    "generation_config": "generation",
    "trust_remote_code": "nothing: code of a checkpoint is never run",
}


def engine_arguments(folder: Path, *, rows: int, longest: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords for vLLM's ``AsyncEngineArgs``: ``given`` ones (tensor parallelism, prefix caching, speculative decoding
    …) as they stand, over our own defaults. ``longest`` bounds prompt and answer, in tokens."""
    return {
        "model": str(folder),
        "max_model_len": longest,
        "max_num_seqs": rows,
        "dtype": "bfloat16",
        # sampling is what the request says: nothing of generation_config.json is put under it
        "generation_config": "vllm",
        "disable_log_stats": True,
        "enable_log_requests": False,
        **given,
    }


def refuse_unusable(arguments: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises :class:`ModelFault` naming the first that vLLM does not know, or that a setting of ours gives."""
    for name in arguments:
        if name in _OURS:
            raise ModelFault(f"model.vllm.{name} is given by {_OURS[name]}: leave it out", field=f"model.vllm.{name}")
        if name not in known:
            raise ModelFault(
                f"model.vllm.{name} is no argument of this vLLM's AsyncEngineArgs: see `vllm serve --help`",
                field=f"model.vllm.{name}",
            )
