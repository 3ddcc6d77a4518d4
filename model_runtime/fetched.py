"""``model.source: registry:NAME@VERSION``: the version, fetched into the folder that workers load from.

It is used as it was published and not quantized again. An alias is looked up each time; what it named last is kept in
``fetched.json`` beside the manifest, so that a site starts although its registry does not answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dialogue.faults import ModelCorrupt, ModelFault, ModelMissing, RegistryFault
from model_runtime.model_store import ModelManifest, verify
from model_runtime.registry import Registry
from model_runtime.registry_index import SCHEME, parse_reference

__all__ = ["FETCHED", "Standing", "fetch_model", "is_registry", "standing_version"]

FETCHED = "fetched.json"


@dataclass(frozen=True, slots=True)
class Standing:
    """A fetched model, and ``note`` where the registry could not be asked whether it still is the right one."""

    manifest: ModelManifest
    note: str = ""


def is_registry(source: str) -> bool:
    return source.startswith(SCHEME)


def standing_version(registry: Registry, source: str, target: Path, method: str) -> Standing | None:
    """What is there already, where it is whole (sizes, small files) and what ``source`` names now."""
    try:
        manifest = verify(target, full=False)
    except (ModelMissing, ModelCorrupt):
        return None
    if manifest.method != method:
        return None
    reference = parse_reference(source)
    try:
        digest = reference.digest or registry.resolve(reference)
    except RegistryFault as fault:
        return Standing(manifest, f"as fetched before: {fault.title.lower()}") if _named(target) == source else None
    return Standing(manifest) if manifest.digest == digest else None


def fetch_model(
    registry: Registry,
    source: str,
    *,
    target: Path,
    method: str,
    progress: Callable[[str, float], None] = lambda text, share: None,
) -> Standing:
    """Makes ``target`` hold the version that ``source`` names; at once where it does already.

    Raises :class:`~dialogue.faults.RegistryFault` where it cannot be looked up, :class:`ModelCorrupt` where a file
    differs, and :class:`ModelFault` where it is held otherwise than by ``method`` or there is no room for it.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        found = standing_version(registry, source, target, method)
        if found is None:
            reference = parse_reference(source)
            digest = reference.digest or registry.resolve(reference)
            published = registry.manifest(reference.name, digest)
            if published.method != method:
                raise ModelFault(
                    f"model.quantization is {method}, and {reference} is held as {published.method}: set "
                    f"model.quantization: {published.method}, or name another version.",
                    field="model.quantization",
                )
            what = f"fetching {reference.name}@{digest[:12]}"
            found = Standing(
                registry.fetch(
                    reference.name, digest, target, lambda done, total: progress(what, done / total if total else 1.0)
                )
            )
        if not found.note and _named(target) != source:
            _name(target, source)
    return found


def _named(target: Path) -> str | None:
    """By which reference it was fetched."""
    try:
        return json.loads((target / FETCHED).read_text("utf-8"))["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _name(target: Path, source: str) -> None:
    part = target / f".{FETCHED}.{os.getpid()}"
    part.write_text(json.dumps({"source": source}) + "\n", "utf-8")
    part.replace(target / FETCHED)
