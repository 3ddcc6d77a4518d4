"""``parley model build``: from a checkpoint to a published version."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import Json
from cli.registry import By

if TYPE_CHECKING:
    from model_runtime.model_store import ModelManifest
    from model_runtime.quality import Quality
    from settings.schema import Settings

__all__ = ["build"]

Method = Literal["bf16", "int8", "int4", "gptq", "awq"]


def build(
    source: str,
    /,
    *,
    name: Annotated[str, Parameter(help="What the model is called.")],
    method: Annotated[Method, Parameter(help="How the weights are held.")] = "int8",
    languages: Annotated[tuple[str, ...], Parameter(help="The languages it can speak.", negative="")] = ("en",),
    reasoning: Annotated[Literal["none", "r1"], Parameter(help="r1: it thinks before it answers.")] = "none",
    held_out: Annotated[Path | None, Parameter(help="A text to measure on what quantizing lost.")] = None,
    allowance: Annotated[float | None, Parameter(help="How much perplexity may grow: 0.01 is one percent.")] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Build a model and publish it to the registry; it is used once an alias is set to it.

    With a held-out text it is compared with the same model in bf16; one that lost more than its allowance is kept, and
    not promoted.

    Parameters
    ----------
    source
        wheel:<package>, a folder with config.json and safetensors, or a .gguf file.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as engines run: before torch is imported
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
    text = None if held_out is None else _read(held_out)
    manifest = _built(settings, source, name, method, languages, reasoning)
    built = folder / f"{name}-{method}"
    record = BuildRecord.of(manifest, by=who(by), at=now())
    if text is not None:
        reference = folder / f"{name}-bf16"
        _built(settings, source, name, "bf16", languages, reasoning)
        quality = _measured(reference, built, text, languages, allowance)
        record = replace(record, quality=asdict(quality), gate=quality.gate)
        if reference != built:
            shutil.rmtree(reference, ignore_errors=True)
    published = registry.publish(name, built, by=who(by), record=record, take=True)
    shutil.rmtree(built, ignore_errors=True)
    if json:
        print_json({"name": name, "digest": published.digest, "new": published.new, "build": record})
        return
    saved = f"{manifest.bytes_before / 1e6:.0f} → {manifest.bytes_after / 1e6:.0f} MB"
    there = "is published" if published.new else "was there already"
    print_line(f"{name}@{short(published.digest)} {there} · {method} · {saved}")
    if text is not None:
        print_line(_told(quality))
    if record.gate == "failed":
        print_line("It is kept, and not promoted without --force and --reason.")
    else:
        print_line(f"Use it: parley model promote {name}@{short(published.digest)} prod")


def _read(path: Path) -> str:
    from dialogue.faults import InvalidRequest

    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"--held-out: {path} cannot be read as text ({error}). Give a UTF-8 file.") from error


def _measured(reference: Path, built: Path, text: str, languages: tuple[str, ...], allowance: float | None) -> Quality:
    from cli.progress import share_bar
    from model_runtime.quality import PROMPTS, compare

    prompts = [prompt for language in languages for prompt in PROMPTS.get(language, ())]
    with share_bar() as told:
        return compare(reference, built, text, prompts, allowance=allowance, progress=told)


def _told(quality: Quality) -> str:
    loss = f"{quality.perplexity_before:.2f} → {quality.perplexity_after:.2f} ({quality.perplexity_loss:+.2%}"
    speed = f"{quality.speed_before:.0f} → {quality.speed_after:.0f} tokens/s"
    return (
        f"perplexity {loss}, {quality.allowance:.1%} allowed: {quality.gate}) · {speed} · greedy answers agree "
        f"{quality.agreement:.0%}"
    )


def _built(
    settings: Settings,
    source: str,
    name: str,
    method: Method,
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
