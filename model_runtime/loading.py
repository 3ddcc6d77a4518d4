"""Loads a prepared folder into a decoder: verified, safetensors only."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dialogue.faults import ModelCorrupt
from model_runtime.architecture import Architecture
from model_runtime.decoder import Decoder
from model_runtime.model_store import ModelManifest, verify, verify_file

__all__ = ["Loaded", "load"]

_HASHING = 4
"""Files that are hashed at once: a large model has several, and a core hashes slower than a disk reads."""


@dataclass(frozen=True, slots=True)
class Loaded:
    manifest: ModelManifest
    decoder: Decoder
    eos_token_ids: tuple[int, ...]
    weight_bytes: int


def load(folder: Path, device: torch.device) -> Loaded:
    """Hashes every file while the weights are read; nothing is given back before all of them are right. What the
    decoder computes in follows from how the weights are held.

    Raises :class:`~dialogue.faults.ModelMissing` or :class:`~dialogue.faults.ModelCorrupt`.
    """
    # the configuration is small, and read as it is verified: what is built from it holds
    manifest = verify(folder, full=False)
    with ThreadPoolExecutor(_HASHING, "hashing") as hashing:
        hashed = [hashing.submit(verify_file, folder / name, record) for name, record in manifest.files.items()]
        try:
            return _read(folder, manifest, device)
        finally:
            # a damaged file is named rather than what came of reading it
            for each in hashed:
                each.result()


def _read(folder: Path, manifest: ModelManifest, device: torch.device) -> Loaded:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    shape = Architecture.from_config(config)
    weights: dict[str, Tensor] = {}
    try:
        for name in sorted(manifest.files):
            if name.endswith(".safetensors"):
                weights |= load_file(folder / name, device=str(device))
        decoder = Decoder(shape, weights, torch.float32 if manifest.method == "fp32" else torch.bfloat16)
    except (SafetensorError, KeyError) as error:
        raise ModelCorrupt(
            f"{folder}: the weights cannot be read ({error}): delete its folder and run `parley prepare`"
        ) from error
    weight_bytes = sum(tensor.nbytes for tensor in weights.values())
    return Loaded(manifest, decoder, _eos(folder, shape), weight_bytes)


def _eos(folder: Path, shape: Architecture) -> tuple[int, ...]:
    """End tokens: those of generation_config.json where there is one, else the config's."""
    path = folder / "generation_config.json"
    eos = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
    if eos is None:
        return shape.eos_token_ids
    return tuple(eos) if isinstance(eos, list) else (eos,)
