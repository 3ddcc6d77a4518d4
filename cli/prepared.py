"""What `parley prepare` makes, where it stands already: looked at here, without the libraries that make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dialogue.faults import ParleyFault

if TYPE_CHECKING:
    from knowledge_base.knowledge import SnapshotInfo
    from model_runtime.model_store import ModelManifest
    from settings.schema import ModelSettings, Settings

__all__ = ["Prepared", "all_models", "knowledge_line", "model_line", "prepared"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A line on each model, in the order of :func:`all_models`, and one on the knowledge base."""

    models: tuple[str, ...]
    knowledge: str


def prepared(settings: Settings) -> Prepared | None:
    """``None`` where something is missing, changed or damaged, and has to be prepared.

    Sizes and small files of models are compared with their manifest, and all files of the snapshot with theirs: as
    `parley prepare` does it. Whoever loads weights compares those.
    """
    from cli.knowledge import open_knowledge

    lines = [_standing(settings, model) for model in all_models(settings)]
    models = tuple(line for line in lines if line is not None)
    if len(models) < len(lines):
        return None
    try:
        info = open_knowledge(settings).standing()
    except ParleyFault:
        return None
    return None if info is None and settings.knowledge.sources else Prepared(models, knowledge_line(info))


def _standing(settings: Settings, model: ModelSettings) -> str | None:
    """The line on a model that is there and is what its source names."""
    from settings.layout import Layout

    target = Layout.of(settings).model(model)
    if model.source.startswith("registry:"):
        from cli.registry import open_registry
        from model_runtime.fetched import standing_version

        found = standing_version(open_registry(settings), model.source, target, model.quantization)
        return None if found is None else model_line(found.manifest, note=found.note)
    from model_runtime.prepare import standing

    manifest = standing(target, model.source)
    return None if manifest is None else model_line(manifest)


def all_models(settings: Settings) -> tuple[ModelSettings, ...]:
    return (settings.model, *settings.models.values())


def model_line(manifest: ModelManifest, seconds: float | None = None, *, how: str = "built", note: str = "") -> str:
    """``seconds``: how long it took, just now, to do what ``how`` says."""
    took = "ready" if seconds is None else f"{how} {seconds:.0f} s"
    told = f"{took} · {manifest.bytes_after / 1e6:.0f} MB · sha256 {manifest.digest[:4]}…"
    return f"{told} · {note}" if note else told


def knowledge_line(info: SnapshotInfo | None, refused: int = 0) -> str:
    """``refused``: how many files were, just now."""
    if info is None:
        return "empty: put documents in with `parley kb add PATH`"
    not_taken = f" · {refused} files refused, see `parley kb add`" if refused else ""
    return f"{info.documents} documents · {info.passages} passages · snapshot {info.id[:8]}…{not_taken}"
