"""Prepares a model without touching its weights: tokenizer, configuration and template alone, for an engine that others
run, whose weights may be on another machine; or a whole checkpoint as it was published, for vLLM.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dialogue.faults import ModelFault, ModelMissing
from model_runtime.model_store import MANIFEST, FileRecord, ModelManifest, file_digest, overall_digest
from model_runtime.source_files import read_config, reading_gguf

__all__ = ["AS_PUBLISHED", "WITHOUT_WEIGHTS", "build_checkpoint", "build_texts", "text_sizes"]

WITHOUT_WEIGHTS = "none"
"""The method of a manifest that holds no weights."""

AS_PUBLISHED = "checkpoint"
"""The method of a manifest that holds a checkpoint's own safetensors, quantized or not."""

_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
_BESIDE = ("model.safetensors.index.json", "quantize_config.json")


def text_sizes(source: str) -> dict[str, int]:
    """The source's files that are prepared, with their bytes. Raises :class:`ModelMissing` where it is not there."""
    return {path.name: path.stat().st_size for path in _texts(source)}


def build_texts(source: str, building: Path, *, name: str, languages: tuple[str, ...], reasoning: str) -> ModelManifest:
    """Puts the files and their manifest into ``building``. Raises :class:`ModelMissing` or :class:`ModelFault`."""
    started, found = time.monotonic(), _texts(source)
    if found[0].suffix == ".gguf":
        _out_of_gguf(found[0], building)
    else:
        for path in found:
            shutil.copyfile(path, building / path.name)
    sizes = text_sizes(source)
    return _publish(
        source, building, sizes, started, WITHOUT_WEIGHTS, name=name, languages=languages, reasoning=reasoning
    )


def build_checkpoint(
    source: str,
    path: Path,
    building: Path,
    sizes: dict[str, int],
    *,
    name: str,
    languages: tuple[str, ...],
    reasoning: str,
) -> ModelManifest:
    """Puts a checkpoint's folder ``path`` into ``building`` as it is: its texts, and its safetensors by hard link where
    the disk allows. Nothing else of it is taken, no pickle and no code.

    Raises :class:`ModelFault` for a GGUF, :class:`ModelMissing` without a tokenizer, :class:`ModelCorrupt` where the
    checkpoint is damaged. Whether its weights fit its config is the engine's to say: vLLM knows more decoders.
    """
    from model_runtime.checkpoint import Weights

    started = time.monotonic()
    if path.is_file():
        raise ModelFault(
            f"model.source is {source!r}, a GGUF: model.quantization {AS_PUBLISHED!r} takes a folder with safetensors; "
            "take bf16",
            field="model.quantization",
        )
    for file in (*_texts(str(path)), *_present(path, _BESIDE)):
        shutil.copyfile(file, building / file.name)
    with Weights(path):  # each header is read, and the index is held against them
        pass
    for file in sorted(path.glob("*.safetensors")):
        _link_or_copy(file, building / file.name)
    return _publish(source, building, sizes, started, AS_PUBLISHED, name=name, languages=languages, reasoning=reasoning)


def _link_or_copy(file: Path, to: Path) -> None:
    try:
        os.link(file.resolve(), to)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, to)


def _publish(
    source: str,
    building: Path,
    sizes: dict[str, int],
    started: float,
    method: str,
    *,
    name: str,
    languages: tuple[str, ...],
    reasoning: str,
) -> ModelManifest:
    files = {file.name: FileRecord(file_digest(file), file.stat().st_size) for file in sorted(building.iterdir())}
    weights = sum(record.bytes for file, record in files.items() if file.endswith(".safetensors"))
    manifest = ModelManifest(
        name=name,
        method=method,
        digest=overall_digest(files, method),
        source=source,
        source_digest=overall_digest(files, source),
        source_sizes=sizes,
        files=files,
        bytes_before=weights,
        bytes_after=weights or sum(record.bytes for record in files.values()),
        built_seconds=round(time.monotonic() - started, 2),
        built_with={"tokenizers": version("tokenizers")},
        context=_context(read_config(building / "config.json")),
        languages=languages,
        reasoning=reasoning,
    )
    (building / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest


def _texts(source: str) -> list[Path]:
    """A ``.gguf`` alone, or the files of a folder that are there."""
    from model_runtime.prepare import find_source

    folder = Path(source)
    if not (folder / "config.json").is_file():
        found = find_source(source)
        if found.is_file():
            return [found]
        folder = found
    if not (folder / "tokenizer.json").is_file():
        raise ModelMissing(
            f"{folder / 'tokenizer.json'} is missing: put the model's own there, with its tokenizer_config.json and "
            "chat_template.jinja",
            field="model.source",
        )
    return _present(folder, _FILES)


def _present(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _out_of_gguf(path: Path, building: Path) -> None:
    """Its tokenizer and its configuration; what is large in it is not read."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import AutoConfig, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    with reading_gguf(path):
        tokenizer = AutoTokenizer.from_pretrained(**where)
        config = AutoConfig.from_pretrained(**where).to_dict()
    tokenizer.save_pretrained(building)
    (building / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if not (building / "chat_template.jinja").is_file():
        raise ModelFault(f"{path} holds no chat template: give a folder with chat_template.jinja as model.source")


def _context(config: dict[str, Any]) -> int:
    context = config.get("max_position_embeddings")
    if not isinstance(context, int) or context < 1:
        raise ModelFault("config.json: max_position_embeddings is missing: give it the model's context in tokens")
    return context
