"""What stands in a payload's place where its text is not shown: JSON that the Web UI and the CLI print as it is."""

from __future__ import annotations

import json
from typing import Any

from temporalio.api.common.v1 import Payload

__all__ = ["not_opened", "shape_of"]

TEXT = "text"


def shape_of(payload: Payload) -> Payload:
    """Size (bytes), encoding and kind of an opened payload, and no letter of it. Of a text a text: the Web UI takes a
    summary for nothing else."""
    kind = _kind(payload)
    if kind == TEXT:
        return _json(f"sealed · {TEXT} · {len(payload.data)} bytes")
    told: dict[str, Any] = {"sealed": True, "bytes": len(payload.data)}
    for name in ("encoding", "messageType"):
        if found := payload.metadata.get(name):
            told[name] = found.decode("ascii", "replace")[:80]
    if kind:
        told["value"] = kind
    return _json(told)


def not_opened(payload: Payload, why: str) -> Payload:
    """``why``: one line for whoever looks at it."""
    return _json({"sealed": True, "bytes": len(payload.data), "why": why})


def _kind(payload: Payload) -> str | None:
    if not payload.metadata.get("encoding", b"").startswith(b"json/"):
        return None
    try:
        value = json.loads(payload.data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        return f"object of {len(value)}"
    if isinstance(value, list):
        return f"list of {len(value)}"
    names = {str: TEXT, bool: "true or false", int: "number", float: "number"}
    return names.get(type(value), "null")


def _json(value: dict[str, Any] | str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(value, ensure_ascii=False).encode())
