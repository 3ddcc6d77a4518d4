"""Keeps trained classifiers on disk, so that a worker starts without training its own.

``<folder>/<name>``, the name a SHA-256 over all that training depends on: the intents, the embedding, this package's
own code and the libraries' versions. The file is the SHA-256 of the rest and a newline, then arrays as safetensors:
nothing in it is code. Whatever is missing, of other origin or damaged is trained again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intents.classifier import IntentClassifier, content_of
from intents.features import Embed
from intents.intents_file import IntentsFile
from intents.language_model import LanguageModel

__all__ = ["kept_or_trained"]

_LIBRARIES = ("scikit-learn", "scipy", "numpy", "OpenCC", "sentence-transformers", "transformers", "torch")
_KEPT = 4
"""Classifiers: this one and those of other settings or versions that may come back."""


def kept_or_trained(
    file: IntentsFile,
    folder: Path,
    embed: Embed | None = None,
    embed_languages: Sequence[str] = ("en",),
    *,
    embed_name: str = "",
    threshold: float | None = None,
) -> IntentClassifier:
    """:meth:`IntentClassifier.train` with the same arguments, or what it gave before: they judge exactly alike.

    A folder that cannot be written costs the next start its time, and nothing else.
    """
    path = folder / _name(file, embed, embed_languages, embed_name)
    models = _read(path, embed, embed_languages)
    if models is not None:
        content = content_of(file, threshold, embed_name if embed else None, embed_languages)
        return IntentClassifier(file, models, content, threshold)
    trained = IntentClassifier.train(file, embed, embed_languages, embed_name=embed_name, threshold=threshold)
    with contextlib.suppress(OSError):
        _write(path, trained.models)
    return trained


def _name(file: IntentsFile, embed: Embed | None, embed_languages: Sequence[str], embed_name: str) -> str:
    said = [_own_code(), file.digest, platform.python_version(), *map(_version, _LIBRARIES)]
    if embed is not None:
        said += [embed_name, *sorted(embed_languages)]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()


def _own_code() -> str:
    """So that a change in how classifiers are trained or kept needs no other care."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _write(path: Path, models: dict[str, LanguageModel]) -> None:
    from safetensors.numpy import save

    facts: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for language, model in models.items():
        facts[language], learned = model.learned()
        arrays |= {f"{language}/{name}": np.ascontiguousarray(array) for name, array in learned.items()}
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    content = save(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    fresh.replace(path)
    for old in sorted(path.parent.glob("*"), key=lambda each: -each.stat().st_mtime)[_KEPT:]:
        old.unlink(missing_ok=True)


def _read(path: Path, embed: Embed | None, embed_languages: Sequence[str]) -> dict[str, LanguageModel] | None:
    """``None`` where there is no such file, or another than was written."""
    from safetensors.numpy import load

    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    arrays = load(content)
    facts = json.loads(arrays.pop("facts").tobytes())
    return {
        language: LanguageModel.known(
            facts[language],
            {
                name.removeprefix(f"{language}/"): array
                for name, array in arrays.items()
                if name.startswith(f"{language}/")
            },
            embed if language in embed_languages else None,
        )
        for language in facts
    }
