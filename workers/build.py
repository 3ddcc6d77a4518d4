"""Which build a worker is, as Temporal shows it with every task that it did."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["build_id"]

_ROOT = Path(__file__).parent.parent
_PACKAGES = (
    "dialogue", "settings", "workflows", "activities", "policy", "intents", "model_runtime", "knowledge_base",
    "records", "workers",
)  # fmt: skip


def build_id(root: Path = _ROOT) -> str:
    """Parley's version and a digest of the code that a worker runs, ours and Temporal's; the same for the same code.

    Left to itself the SDK reads every module again that the process has imported: half a second with torch in it.
    """
    whole = hashlib.sha256(version("temporalio").encode())
    for file in sorted(file for package in _PACKAGES for file in (root / package).rglob("*.py")):
        whole.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    try:
        release = version("parley")
    except PackageNotFoundError:  # a bare checkout
        release = "0"
    return f"{release}-{whole.hexdigest()[:12]}"
