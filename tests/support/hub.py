"""A stand-in for a hub of models, on a real server: one model with one revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tests.support.file_server import FileServer, Served

__all__ = ["COMMIT", "serve_hub"]

COMMIT = "c" * 40


def serve_hub(server: FileServer, repo: str, revision: str, files: Mapping[str, bytes]) -> None:
    """Its list of files comes on two pages; safetensors have their SHA-256, the rest git's digest."""
    entries: list[dict[str, Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "onnx"}]
    for path, body in files.items():
        blob = hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"type": "file", "oid": blob, "size": len(body), "path": path}
        if path.endswith(".safetensors"):
            entry["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 134}
        entries.append(entry)
        server.files[f"/{repo}/resolve/{COMMIT}/{path}"] = Served(body)
    api = f"/api/models/{repo}"
    tree = f"{api}/tree/{COMMIT}"
    first, second = (json.dumps(part).encode() for part in (entries[:3], entries[3:]))
    server.files[f"{api}/revision/{revision}"] = Served(json.dumps({"sha": COMMIT}).encode())
    server.files[f"{tree}?recursive=true"] = Served(first, link=f'<{server.url}{tree}?cursor=2>; rel="next"')
    server.files[f"{tree}?cursor=2"] = Served(second)
