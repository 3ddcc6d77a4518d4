"""The knowledge base in a folder: build it, add to it, search it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dialogue.steps import RetrievedKnowledge
from knowledge_base.embedding import Embedder

__all__ = ["AddReport", "DocumentEntry", "KnowledgeBase", "Progress", "SnapshotInfo"]

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``; ``what`` is ``reading`` or ``embedding``."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a snapshot holds. ``id`` is its content digest, hexadecimal."""

    id: str
    documents: int
    passages: int


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of the files given: names added (or changed), names that were there already, files refused."""

    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    snapshot: SnapshotInfo


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """One document of a snapshot."""

    name: str
    title: str
    language: str
    passages: int
    characters: int
    digest: str


class KnowledgeBase:
    """All snapshots below ``folder``. Reads follow the current one by themselves; any number of readers and writers.

    ``threshold`` (0 to 1) is the least score a passage needs to be returned.
    """

    def __init__(self, folder: Path, embedder: Embedder | None = None, *, threshold: float = 0.35) -> None:
        raise NotImplementedError

    def current(self) -> SnapshotInfo | None:
        """The snapshot that searches use now, or ``None`` when nothing was ever built."""
        raise NotImplementedError

    def build(self, paths: Iterable[Path], progress: Progress | None = None) -> AddReport:
        """A snapshot of exactly these files and folders, made current."""
        raise NotImplementedError

    def add(self, paths: Iterable[Path], progress: Progress | None = None) -> AddReport:
        """These files and folders besides the documents already there. A file of the same name replaces the old one."""
        raise NotImplementedError

    def remove(self, name: str) -> SnapshotInfo:
        """Takes a document out. Raises :class:`dialogue.faults.KnowledgeMissing` when there is none of that name."""
        raise NotImplementedError

    def list(self, snapshot: str | None = None) -> tuple[DocumentEntry, ...]:
        """The documents, by name."""
        raise NotImplementedError

    def search(
        self, query: str, language: str, limit: int = 4, *, snapshot: str | None = None, threshold: float | None = None
    ) -> RetrievedKnowledge:
        """Passages for a question, best first.

        ``snapshot`` asks an older one by its id. Raises ``KnowledgeMissing`` and ``KnowledgeCorrupt``.
        """
        raise NotImplementedError

    def document(self, name: str, snapshot: str | None = None) -> str:
        """A document's Markdown; passages' ``start`` and ``end`` are offsets into it."""
        raise NotImplementedError
