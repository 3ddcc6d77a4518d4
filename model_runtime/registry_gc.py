"""Which versions of a registry nobody needs any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model_runtime.registry import Registry
from model_runtime.registry_index import Index

__all__ = ["Decision", "collect"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a version stays, and why. ``removed`` once it is gone."""

    name: str
    digest: str
    bytes: int
    stays: bool
    why: str
    removed: bool = False


def collect(registry: Registry, *, needed: Mapping[str, str], history: int, delete: bool) -> list[Decision]:
    """Decides on each version, and with ``delete`` removes those that do not stay.

    One stays where an alias names it, or did in one of its last ``history`` places, or where ``needed`` names its
    digest with the reason: a kept answer, a setting. It is decided once more in the moment of removing, so an alias
    that is set meanwhile holds.
    """
    index = registry.index()
    decisions: list[Decision] = []
    for name, model in sorted(index.models.items()):
        for digest, version in sorted(model.versions.items(), key=lambda each: each[1].at):
            reason = _why(index, name, digest, needed, history)
            if reason is None and delete:
                reason = registry.remove(name, digest, lambda now, n=name, d=digest: _why(now, n, d, needed, history))
                if reason is None:
                    decisions.append(Decision(name, digest, version.bytes, False, _UNUSED, removed=True))
                    continue
            decisions.append(Decision(name, digest, version.bytes, reason is not None, reason or _UNUSED))
    return decisions


_UNUSED = "no alias, no kept answer and no setting names it"


def _why(index: Index, name: str, digest: str, needed: Mapping[str, str], history: int) -> str | None:
    """Why it stays; ``None`` where nothing holds it. One whose removal was begun has lost its files: it goes."""
    model = index.models.get(name)
    version = model.versions.get(digest) if model else None
    if model is None or version is None:
        return "it is gone already"
    if version.removing:
        return None
    for alias, kept in sorted(model.aliases.items()):
        if kept.digest == digest:
            return f"{alias} is set to it"
    for alias, kept in sorted(model.aliases.items()):
        # a rollback goes back through what was promoted, which after several rollbacks are not the last moves
        recent = {move.digest for move in kept.moves[-history:]} | set(kept.before()[-history:]) if history else set()
        if digest in recent:
            return f"{alias} was set to it, among its last {history}"
    return needed.get(digest)
