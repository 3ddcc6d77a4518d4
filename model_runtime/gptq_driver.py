"""Quantizes a model by GPTQ: gptqmodel does it, in an interpreter of its own, and we take what it made.

gptqmodel pins other versions of what we run on, so it is never imported here (decision 6). Its process gets one job and
answers in lines of JSON; what it writes is a checkpoint in the common format, prepared like anybody's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dialogue.faults import ModelFault
from model_runtime.model_store import MANIFEST, ModelManifest
from model_runtime.prepare import prepare_model

__all__ = ["HOW_TO_MAKE", "GptqJob", "GptqMade", "build_gptq"]

Progress = Callable[[str, float], None]
HOW_TO_MAKE = (
    "python3.11 -m venv gptq && gptq/bin/pip install torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 "
    "datasets dill pillow protobuf requests threadpoolctl && "
    "gptq/bin/pip install --no-deps gptqmodel==7.7.0 defuser tokenicer logbar pypcre device-smi torchao==0.18.0"
)
"""gptqmodel 7.7.0 asks for torch 2.14.1 and runs on 2.13: so it is installed last, without what it asks for."""
_SCRIPT = Path(__file__).with_name("gptq_build.py")
_WINDOW = 512
_LEAST_TOKENS = 128
_DONE_BEFORE, _DONE_AFTER = 0.2, 0.85
"""Of the whole build, the shares done when gptqmodel begins and ends."""


@dataclass(frozen=True, slots=True)
class GptqJob:
    """``calibration`` is a text like what the model will be asked; ``python`` an interpreter that has gptqmodel."""

    calibration: Path
    python: Path | None
    bits: Literal[4] = 4
    group: Literal[32, 128] = 128


@dataclass(frozen=True, slots=True)
class GptqMade:
    """What the build's record keeps. ``calibration_digest`` is the SHA-256 of the text."""

    bits: int
    group: int
    calibration: str
    calibration_digest: str
    calibration_tokens: int
    gptqmodel: str


def build_gptq(
    source: str,
    job: GptqJob,
    *,
    name: str,
    folder: Path,
    languages: tuple[str, ...] = ("en",),
    reasoning: str = "none",
    progress: Progress = lambda text, share: None,
) -> tuple[ModelManifest, GptqMade]:
    """Makes ``folder/<name>-gptq/`` of any unquantized source; ``folder/<name>-bf16/`` is made on the way and left.

    Raises :class:`ModelFault` where there is no such interpreter or calibration text, where the group does not divide a
    layer's inputs, or where gptqmodel fails.
    """
    python = _interpreter(job.python)
    text = _text(job.calibration)

    def prepare(of: str, method: Literal["bf16", "gptq"], begin: float, end: float) -> ModelManifest:
        return prepare_model(
            of,
            name=name,
            method=method,
            folder=folder,
            languages=languages,
            reasoning=reasoning,
            progress=lambda line, share: progress(line, begin + (end - begin) * share),
        )

    reference = prepare(source, "bf16", 0.0, _DONE_BEFORE)
    dense, work = folder / f"{name}-bf16", folder / f".{name}-gptq.making"
    _check_group(dense, job.group)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        samples = _samples(dense, text, reference.context, job.calibration)
        told = {
            "source": str(_as_checkpoint(dense, work / "dense")),
            "target": str(work / "made"),
            "bits": job.bits,
            "group": job.group,
            "samples": samples,
        }
        version = _run(python, told, folder / f"{name}-gptq.log", progress)
        _take_texts(dense, work / "made")
        manifest = prepare(str(work / "made"), "gptq", _DONE_AFTER, 1.0)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    made = GptqMade(job.bits, job.group, job.calibration.name, digest, sum(map(len, samples)), version)
    return _of_source(manifest, reference, folder / f"{name}-gptq", version), made


def _interpreter(python: Path | None) -> Path:
    if python is None:
        raise ModelFault(
            f"--python is missing: GPTQ needs an interpreter that has gptqmodel. Make one: {HOW_TO_MAKE}; then give it "
            "--python gptq/bin/python",
            field="python",
        )
    if not os.access(python, os.X_OK) or not python.is_file():
        raise ModelFault(f"--python: {python} is no interpreter. Make one: {HOW_TO_MAKE}", field="python")
    return python.absolute()  # not resolved: a virtual environment is told by the link itself


def _text(calibration: Path) -> str:
    try:
        return calibration.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFault(
            f"--calibration: {calibration} cannot be read as text ({error}). Give a UTF-8 file.", field="calibration"
        ) from error


def _samples(dense: Path, text: str, context: int, calibration: Path) -> list[list[int]]:
    """Windows of the text in tokens; what is left over at the end goes, unless it is all there is."""
    from model_runtime.tokenizer import Tokenizer

    ids, window = list(Tokenizer.load(dense).encode(text)), min(_WINDOW, context)
    if len(ids) < _LEAST_TOKENS:
        raise ModelFault(
            f"--calibration: {calibration} has {len(ids)} tokens. Give at least {_LEAST_TOKENS}; 65,000 are usual.",
            field="calibration",
        )
    whole = [ids[start : start + window] for start in range(0, len(ids) - window + 1, window)]
    return whole or [ids]


def _check_group(dense: Path, group: int) -> None:
    """Before the long work, at whose end no kernel would take what it made."""
    from safetensors import safe_open

    for file in sorted(dense.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for tensor in opened.keys():  # noqa: SIM118 - it is no dict
                shape = opened.get_slice(tensor).get_shape()
                if ".layers." in tensor and len(shape) == 2 and shape[1] % group:
                    raise ModelFault(
                        f"--group: {group} does not divide the {shape[1]} inputs of {tensor}. Give --group 32 where "
                        "that does, or another method.",
                        field="group",
                    )


def _as_checkpoint(dense: Path, view: Path) -> Path:
    """The prepared bf16 folder under the names that transformers looks for: links, and an index of the tensors."""
    from safetensors import safe_open

    view.mkdir()
    where: dict[str, str] = {}
    for file in sorted(dense.iterdir()):
        if file.name == MANIFEST:
            continue
        (view / file.name).symlink_to(file.absolute())
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                where |= dict.fromkeys(opened.keys(), file.name)
    index = {"metadata": {}, "weight_map": where}
    (view / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return view


def _run(python: Path, job: dict[str, Any], log: Path, progress: Progress) -> str:
    """Gives gptqmodel's version. Its process ends with this call, however that ends; ``log`` stays where it failed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment["HF_HUB_OFFLINE"] = "1"
    command, pipe = [str(python), str(_SCRIPT)], subprocess.PIPE
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, encoding="utf-8", env=environment) as process,
    ):
        try:
            last = _follow(process, job, progress)
            code = process.wait()
        finally:
            process.kill()
    if code == 0 and "made" in last:
        log.unlink(missing_ok=True)
        return str(last["made"]["gptqmodel"])
    reason = last.get("failed") or f"its process ended with {code}"
    if last.get("type") == "import":
        raise ModelFault(f"--python: {python} cannot import gptqmodel ({reason}). Make one that can: {HOW_TO_MAKE}")
    raise ModelFault(f"gptqmodel failed: {reason}. {log} has its own words; nothing was published.")


def _follow(process: subprocess.Popen[str], job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Gives it the job, tells how far it is, and returns its last line."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    last: dict[str, Any] = {}
    try:
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.close()
    except BrokenPipeError:
        return last  # it ended at once: its exit code says so
    for line in process.stdout:
        last = json.loads(line)
        if "text" in last:
            progress(last["text"], _DONE_BEFORE + (_DONE_AFTER - _DONE_BEFORE) * last["share"])
    return last


def _take_texts(dense: Path, made: Path) -> None:
    """Tokenizer, template and generation settings stay the source's own, whatever a library made of them."""
    for file in dense.iterdir():
        if file.suffix != ".safetensors" and file.name not in (MANIFEST, "config.json"):
            shutil.copyfile(file, made / file.name)


def _of_source(manifest: ModelManifest, reference: ModelManifest, folder: Path, version: str) -> ModelManifest:
    """The manifest names what the model was made from, and not the checkpoint in between, which is gone."""
    named = replace(
        manifest,
        source=reference.source,
        source_digest=reference.source_digest,
        source_sizes=reference.source_sizes,
        bytes_before=reference.bytes_before,
        built_with=manifest.built_with | {"gptqmodel": version},
    )
    (folder / MANIFEST).write_text(named.to_json(), "utf-8")
    return named
