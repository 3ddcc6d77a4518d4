"""Small prepared models, made without a model, for tests of the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_runtime.model_store import MANIFEST, FileRecord, ModelManifest, file_digest, overall_digest

__all__ = ["prepared", "safetensors"]


def safetensors(data: bytes) -> bytes:
    """A file of one tensor of bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


def prepared(folder: Path, weights: bytes = b"weights", *, method: str = "int8", **changes: Any) -> Path:
    """A folder as `prepare_model` leaves it; another ``weights`` is another digest. ``changes``: of the manifest."""
    folder.mkdir(parents=True)
    (folder / "weights-001.safetensors").write_bytes(safetensors(weights))
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    files = {file.name: FileRecord(file_digest(file), file.stat().st_size) for file in sorted(folder.iterdir())}
    given: dict[str, Any] = {
        "name": "tiny",
        "method": method,
        "digest": overall_digest(files, method),
        "source": "wheel:tiny",
        "source_digest": "0" * 64,
        "source_sizes": {"model.safetensors": 4},
        "files": files,
        "bytes_before": 4,
        "bytes_after": 2,
        "built_seconds": 0.1,
        "built_with": {"torch": "2"},
        "context": 512,
        "languages": ("en",),
        "reasoning": "none",
        **changes,
    }
    (folder / MANIFEST).write_text(ModelManifest(**given).to_json())
    return folder
