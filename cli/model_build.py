"""``parley model build``: from a checkpoint to a published version."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import Json
from cli.registry import By

if TYPE_CHECKING:
    from model_runtime.model_store import ModelManifest
    from settings.schema import Settings

__all__ = ["build"]


def build(
    source: str,
    /,
    *,
    name: Annotated[str, Parameter(help="What the model is called.")],
    method: Annotated[Literal["bf16", "int8", "int4"], Parameter(help="How the weights are held.")] = "int8",
    languages: Annotated[tuple[str, ...], Parameter(help="The languages it can speak.", negative="")] = ("en",),
    reasoning: Annotated[Literal["none", "r1"], Parameter(help="r1: it thinks before it answers.")] = "none",
    by: By = None,
    json: Json = False,
) -> None:
    """Build a model and publish it to the registry; it is used once an alias is set to it.

    Parameters
    ----------
    source
        wheel:<package>, a folder with config.json and safetensors, or a .gguf file.
    """
    from cli.console import print_json, print_line
    from cli.registry import open_registry, short, who
    from model_runtime.build_record import BuildRecord
    from model_runtime.registry import now
    from model_runtime.registry_index import check_name
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    registry = open_registry(settings)
    check_name(name)
    folder = Layout.of(settings).cache / "builds"
    manifest = _built(settings, source, name, method, languages, reasoning)
    built = folder / f"{name}-{method}"
    record = BuildRecord.of(manifest, by=who(by), at=now())
    published = registry.publish(name, built, by=who(by), record=record, take=True)
    shutil.rmtree(built, ignore_errors=True)
    if json:
        print_json({"name": name, "digest": published.digest, "new": published.new, "build": record})
        return
    saved = f"{manifest.bytes_before / 1e6:.0f} → {manifest.bytes_after / 1e6:.0f} MB"
    there = "is published" if published.new else "was there already"
    print_line(f"{name}@{short(published.digest)} {there} · {method} · {saved}")
    print_line(f"Use it: parley model promote {name}@{short(published.digest)} prod")


def _built(
    settings: Settings,
    source: str,
    name: str,
    method: Literal["bf16", "int8", "int4"],
    languages: tuple[str, ...],
    reasoning: str,
) -> ModelManifest:
    """Below the cache, from where it is moved into the registry."""
    from cli.progress import share_bar
    from model_runtime.prepare import prepare_model
    from settings.layout import Layout

    with share_bar() as told:
        return prepare_model(
            source,
            name=name,
            method=method,
            folder=Layout.of(settings).cache / "builds",
            languages=languages,
            reasoning=reasoning,
            progress=told,
        )
