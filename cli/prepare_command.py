"""``parley prepare``: the models quantized and the knowledge base built, where they are not yet."""

from __future__ import annotations

import json as json_text
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from settings.schema import ModelSettings, Settings

__all__ = ["prepare"]

Tell = Callable[[dict[str, Any]], None]


def prepare(*, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Prepare the models and the knowledge base, once, without starting anything.

    Parameters
    ----------
    json
        Print one JSON object a line as it goes on; the last of each thing holds its result.
    """
    from cli.ending import code_of, line_of
    from settings.load import load

    tell = _tell_json if json else _tell
    try:
        settings = load()
        for model in (settings.model, *settings.models.values()):
            _prepare_model(settings, model, tell)
        _prepare_knowledge(settings, tell)
    except Exception as error:
        if not json or line_of(error) is None:
            raise
        # whoever reads the lines tells it in our place
        tell({"what": "fault", "type": getattr(error, "type", "fault"), "message": line_of(error)})
        return code_of(error)
    return 0


def _tell_json(event: dict[str, Any]) -> None:
    print(json_text.dumps(event, ensure_ascii=False), flush=True)


def _tell(event: dict[str, Any]) -> None:
    from cli.console import print_line

    print_line(f"{event['what']}: {event['text']}")


def _prepare_model(settings: Settings, model: ModelSettings, tell: Tell) -> None:
    from model_runtime.prepare import prepare_model
    from settings.layout import Layout

    started, built = time.monotonic(), False

    def progress(text: str, share: float) -> None:
        nonlocal built
        built = True
        tell({"what": "model", "name": model.name, "text": f"{text} · {share:.0%}"})

    manifest = prepare_model(
        model.source,
        name=model.name,
        method=model.quantization,
        folder=Layout.of(settings).models,
        languages=model.languages,
        reasoning=model.reasoning,
        progress=progress,
    )
    took = f"built {time.monotonic() - started:.0f} s" if built else "ready"
    size = f"{manifest.bytes_after / 1e6:.0f} MB"
    text = f"{took} · {size} · sha256 {manifest.digest[:8]}…"
    tell({"what": "model", "name": model.name, "text": text, "done": True, "digest": manifest.digest})


def _prepare_knowledge(settings: Settings, tell: Tell) -> None:
    from cli.knowledge import open_knowledge

    knowledge = open_knowledge(settings)
    info, refused = knowledge.current(), ()
    if info is None and settings.knowledge.sources:
        report = knowledge.build(
            settings.knowledge.sources,
            lambda what, done, total: tell({"what": "knowledge", "text": f"{what} · {done} of {total}"}),
        )
        info, refused = report.snapshot, report.refused
    text = "empty: put documents in with `parley kb add PATH`"
    if info is not None:
        text = f"{info.documents} documents · {info.passages} passages · snapshot {info.id[:8]}…"
    if refused:
        text += f" · {len(refused)} files refused"
    tell({"what": "knowledge", "text": text, "done": True, "refused": refused, "snapshot": info.id if info else None})
