"""The versions of what is installed."""

from __future__ import annotations

from importlib import metadata

__all__ = ["version_of"]


def version_of(distribution: str) -> str:
    """Its version; ``not installed`` where it is not, as Parley itself is not in a bare checkout."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
