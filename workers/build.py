"""Which build a worker is, as Temporal shows it with every task that it did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["build_id", "code_digest"]

_ROOT = Path(__file__).parent.parent
_PACKAGES = (
    "dialogue", "settings", "workflows", "activities", "policy", "intents", "model_runtime", "knowledge_base",
    "records", "workers",
)  # fmt: skip


def build_id(root: Path = _ROOT) -> str:
    """Parley's version and a digest of the code that a worker runs, ours and Temporal's; the same for the same code.

    Left to itself the SDK reads every module again that the process has imported: half a second with torch in it.
    """
    digest = code_digest(_PACKAGES, root)
    try:
        release = version("parley")
    except PackageNotFoundError:  # a bare checkout
        release = "0"
    return f"{release}-{digest[:12]}"


def code_digest(packages: Iterable[str], root: Path = _ROOT) -> str:
    """SHA-256, in hexadecimal, over the packages' code and Temporal's version; the same wherever they lie."""
    whole = hashlib.sha256(version("temporalio").encode())
    for file in sorted(file for package in packages for file in (root / package).rglob("*.py")):
        whole.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return whole.hexdigest()
