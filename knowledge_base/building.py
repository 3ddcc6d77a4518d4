"""Documents made into indices, embedding only what was not embedded before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from knowledge_base.chunks import Chunking, chunks
from knowledge_base.documents import Document
from knowledge_base.embedding import Embedder
from knowledge_base.index import IndexedPassage, LanguageIndex
from knowledge_base.snapshot import Snapshot

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Progress", "build_indices"]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``; ``what`` is ``reading`` or ``embedding``."""

_BATCH = 128


def build_indices(
    documents: Sequence[Document],
    chunking: Chunking,
    embedder: Embedder,
    previous: Snapshot | None = None,
    progress: Progress | None = None,
) -> dict[str, LanguageIndex]:
    """One index for each language that a passage is in.

    Vectors of texts that ``previous`` holds are taken from it, where the same embedder made it.
    """
    by_language: dict[str, list[IndexedPassage]] = {}
    for document in sorted(documents, key=lambda document: document.name):
        for passage in _passages(document, chunking):
            by_language.setdefault(passage.language, []).append(passage)
    known = _vectors(previous) if previous is not None and previous.recipe.embedder == embedder.digest else {}

    def embed(texts: Sequence[str]) -> np.ndarray:
        return _embed(texts, embedder, known, progress)

    return {
        language: LanguageIndex.build(by_language[language], embed if embedder.knows(language) else None)
        for language in sorted(by_language)
    }


def _passages(document: Document, chunking: Chunking) -> list[IndexedPassage]:
    return [
        IndexedPassage(
            id=f"{document.name}:{chunk.start}-{chunk.end}",
            document=document.name,
            title=document.title,
            section=chunk.section,
            language=chunk.language,
            text=document.text[chunk.start : chunk.end],
            start=chunk.start,
            end=chunk.end,
            sentences=chunk.sentences,
        )
        for chunk in chunks(document, chunking)
    ]


def _vectors(snapshot: Snapshot) -> dict[bytes, np.ndarray]:
    return {_key(text): vector for index in snapshot.indices.values() for text, vector in index.vectors()}


def _embed(
    texts: Sequence[str], embedder: Embedder, known: dict[bytes, np.ndarray], progress: Progress | None
) -> np.ndarray:
    import numpy as np

    new = list({_key(text): text for text in texts if _key(text) not in known}.values())
    for start in range(0, len(new), _BATCH):
        batch = new[start : start + _BATCH]
        known.update(zip(map(_key, batch), embedder.embed(batch), strict=True))
        if progress is not None:
            progress("embedding", start + len(batch), len(new))
    return np.stack([known[_key(text)] for text in texts])


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
