"""``parley prepare``: the models quantized and the knowledge base built, where they are not yet."""

from __future__ import annotations

import json as json_text
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from model_runtime.fetched import Standing
    from model_runtime.model_store import ModelManifest
    from settings.schema import ModelSettings, Settings

__all__ = ["prepare"]

Update = Callable[[str], None]
"""Told in one line how far something is."""


def prepare(
    *, json: Annotated[bool, Parameter(negative="", help="One JSON object a line, as it goes.")] = False
) -> int:
    """Prepare the models and the knowledge base, once, without starting anything."""
    from cli.console import output
    from cli.prepared import all_models
    from cli.stages import Stages
    from settings.load import load

    if json:
        return _prepare_in_lines()
    settings = load()
    models = all_models(settings)
    stages = Stages(output(), len(models) + 1)
    for model in models:
        with stages.stage(f"Model {model.name} {model.held}") as stage:
            stage.done(_prepare_model(settings, model, stage.update))
    with stages.stage("Knowledge base") as stage:
        stage.done(_prepare_knowledge(settings, stage.update))
    return 0


def _prepare_in_lines() -> int:
    """For a program that reads them. Each thing ends with a line that is ``done``; a fault is a line too."""
    from cli.ending import code_of, line_of
    from cli.prepared import all_models
    from settings.load import load

    def tell(what: str, text: str | None, **more: object) -> None:
        print(json_text.dumps({"what": what, "text": text, **more}, ensure_ascii=False), flush=True)

    try:
        settings = load()
        for model in all_models(settings):
            tell("model", _prepare_model(settings, model, lambda text: tell("model", text)), done=True)
        tell("knowledge", _prepare_knowledge(settings, lambda text: tell("knowledge", text)), done=True)
    except Exception as error:
        line = line_of(error)
        if line is None:
            raise
        tell("fault", line, type=getattr(error, "type", "fault"))
        return code_of(error)
    return 0


def _prepare_model(settings: Settings, model: ModelSettings, update: Update) -> str:
    """What came of it, in one line: fetched from the registry, or built."""
    from cli.prepared import model_line

    started, worked = time.monotonic(), False

    def progress(text: str, share: float) -> None:
        nonlocal worked
        worked = True
        update(f"{share:.0%} · {text}")

    if model.source.startswith("registry:"):
        found = _fetched(settings, model, progress)
        manifest, how, note = found.manifest, "fetched", found.note
    else:
        manifest, how, note = _built(settings, model, progress), "built", ""
    return model_line(manifest, time.monotonic() - started if worked else None, how=how, note=note)


def _fetched(settings: Settings, model: ModelSettings, progress: Callable[[str, float], None]) -> Standing:
    from cli.registry import open_registry
    from model_runtime.fetched import fetch_model
    from settings.layout import Layout

    return fetch_model(
        open_registry(settings),
        model.source,
        target=Layout.of(settings).model(model),
        method=model.quantization,
        progress=progress,
    )


def _built(settings: Settings, model: ModelSettings, progress: Callable[[str, float], None]) -> ModelManifest:
    from model_runtime.prepare import prepare_model
    from settings.layout import Layout

    return prepare_model(
        model.source,
        name=model.name,
        method=model.held,
        folder=Layout.of(settings).models,
        languages=model.languages,
        reasoning=model.reasoning,
        progress=progress,
    )


def _prepare_knowledge(settings: Settings, update: Update) -> str:
    """What came of it, in one line: built from its sources where it was empty."""
    from cli.knowledge import open_knowledge
    from cli.prepared import knowledge_line

    knowledge = open_knowledge(settings)
    info, refused = knowledge.current(), ()
    if info is None and settings.knowledge.sources:
        report = knowledge.build(
            settings.knowledge.sources, lambda what, done, total: update(f"{what} {done} of {total}")
        )
        info, refused = report.snapshot, report.refused
    return knowledge_line(info, len(refused))
