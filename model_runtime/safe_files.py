"""Which files a model may bring: weights as safetensors, JSON, the tokenizer, a chat template. Nothing that runs.

A pickle runs code when it is read, and a ``.py`` beside a checkpoint is there to be run (``trust_remote_code``, which
is never set here). Both are refused by name, before anything is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from dialogue.faults import UnsafeModel

__all__ = ["Kind", "check_names", "check_weights", "kind_of"]

Kind = Literal["taken", "refused", "left out"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_RUNS = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".py", ".pyc", ".so", ".sh")
_TAKEN = (".safetensors", ".json", ".jinja", ".model", ".tiktoken")
_TEXTS = ("merges.txt", "vocab.txt")


def kind_of(name: str) -> Kind:
    """Whether a file of a published checkpoint is taken. One in a folder below is left out: nothing here reads it."""
    small = name.lower()
    if small.endswith(_RUNS):
        return "refused"
    taken = _NAME.fullmatch(name) and (small.endswith(_TAKEN) or small in _TEXTS)
    return "taken" if taken else "left out"


def check_names(names: Iterable[str], where: str) -> None:
    """Raises :class:`UnsafeModel` for the first name that a prepared model never has: a path, a pickle, a program."""
    for name in names:
        if kind_of(name) != "taken":
            raise UnsafeModel(
                f"{where}: its manifest names {name!r}. A model is safetensors, JSON, a tokenizer and a chat template, "
                "all in one folder; build it again from a checkpoint that has these."
            )


def check_weights(folder: Path, names: Iterable[str]) -> None:
    """Raises :class:`UnsafeModel` where a file is called safetensors and is something else, such as a pickle."""
    from safetensors import SafetensorError, safe_open

    for name in names:
        if not name.endswith(".safetensors"):
            continue
        try:
            with safe_open(folder / name, framework="numpy"):  # reads the header alone
                pass
        except SafetensorError as error:
            raise UnsafeModel(
                f"{folder / name} is no safetensors file ({error}): take the weights from who publishes them as such."
            ) from error
