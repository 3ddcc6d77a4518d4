"""Texts as any database of ours takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["storable"]


def storable(value: Any) -> Any:
    """Tuples as lists; NUL and lone surrogates, which no database takes as text, as U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {name: storable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    return value
