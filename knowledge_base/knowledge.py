"""The knowledge base in a folder: build it, add to it, search it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from dialogue.faults import DocumentUnreadable, KnowledgeCorrupt, KnowledgeMissing
from dialogue.steps import RetrievedKnowledge
from knowledge_base.building import Progress, build_indices
from knowledge_base.chunks import Chunking
from knowledge_base.documents import Document, document_of, find_documents, read_document
from knowledge_base.embedding import Embedder
from knowledge_base.search import search
from knowledge_base.snapshot import DocumentEntry, Recipe, Snapshot, SnapshotStore

__all__ = ["AddReport", "DocumentEntry", "KnowledgeBase", "Progress", "SnapshotInfo"]

log: structlog.stdlib.BoundLogger = structlog.get_logger("knowledge_base")

_KEPT = 3  # snapshots held in memory: the current one and those asked of late


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a snapshot holds. ``id`` is its content digest, ``embedder`` that of its vectors' model, hexadecimal."""

    id: str
    documents: int
    passages: int
    embedder: str


@dataclass(frozen=True, slots=True)
class AddReport:
    """What became of the files given: names added (or changed), names that were there already, files refused.

    ``refused`` holds ``(name, reason)``; the reason is one line.
    """

    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    snapshot: SnapshotInfo


class KnowledgeBase:
    """All snapshots below ``folder``. Reads follow the current one by themselves; any number of readers and writers.

    ``threshold`` (0 to 1) is the least score a passage needs to be returned. Methods block (files, CPU): call them
    from a thread where an event loop runs. Safe to share between threads.
    """

    def __init__(
        self,
        folder: Path,
        embedder: Embedder | None = None,
        *,
        threshold: float = 0.35,
        chunking: Chunking = Chunking(),  # noqa: B008 - frozen
    ) -> None:
        self.folder = folder
        self.embedder = embedder or Embedder()
        self._threshold = threshold
        self._chunking = chunking
        self._store = SnapshotStore(folder)
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Snapshot] = OrderedDict()
        self._seen: tuple[tuple[int, int], str] | None = None
        self._gone: set[str] = set()

    def current(self) -> SnapshotInfo | None:
        """The snapshot that searches use now, or ``None`` when nothing was ever built. Loads and verifies it."""
        return None if self._store.stamp() is None else _info(self._snapshot(None))

    def standing(self) -> SnapshotInfo | None:
        """The same without loading it: the files are verified, and no index is read.

        Raises ``KnowledgeMissing`` and ``KnowledgeCorrupt``.
        """
        id_ = self._store.current()
        if id_ is None:
            return None
        recipe, entries = self._store.verified(id_)
        return SnapshotInfo(id_, len(entries), sum(entry.passages for entry in entries.values()), recipe.embedder)

    def build(self, paths: Iterable[Path], progress: Progress | None = None) -> AddReport:
        """A snapshot of exactly these files and folders, made current.

        Files that cannot be read are in the report; the rest goes on. Raises :class:`DocumentUnreadable` when none
        of them can be read, and leaves everything as it was.
        """
        documents, refused = _read(paths, progress)
        if not documents:
            raise DocumentUnreadable(_none_readable(refused))
        with self._store.writing():
            previous = self._previous()
            before = previous.documents if previous else {}
            return self._report(documents, before, refused, self._make(documents, previous, progress))

    def add(self, paths: Iterable[Path], progress: Progress | None = None) -> AddReport:
        """These files and folders besides the documents already there. A file of the same name replaces the old one.

        What was embedded before is not embedded again. Raises :class:`DocumentUnreadable` when no file can be read
        and nothing was there before.
        """
        documents, refused = _read(paths, progress)
        with self._store.writing():
            previous = self._previous()
            if not documents and previous is None:
                raise DocumentUnreadable(_none_readable(refused))
            before = previous.documents if previous else {}
            kept = [] if previous is None else _documents(previous, without={document.name for document in documents})
            snapshot = self._make([*kept, *documents], previous, progress)
            return self._report(documents, before, refused, snapshot)

    def remove(self, name: str) -> SnapshotInfo:
        """Takes a document out. Raises :class:`KnowledgeMissing` when there is none of that name."""
        with self._store.writing():
            previous = self._snapshot(None)
            previous.text_of(name)
            return _info(self._make(_documents(previous, without={name}), previous, None))

    def list(self, snapshot: str | None = None) -> tuple[DocumentEntry, ...]:
        """The documents, by name. Raises ``KnowledgeMissing`` and ``KnowledgeCorrupt``."""
        documents = self._snapshot(snapshot).documents
        return tuple(documents[name] for name in sorted(documents))

    def search(
        self, query: str, language: str, limit: int = 4, *, snapshot: str | None = None, threshold: float | None = None
    ) -> RetrievedKnowledge:
        """Passages for a question, best first; none where no score reaches the threshold.

        ``snapshot`` asks an older one by its id. Raises ``KnowledgeMissing`` and ``KnowledgeCorrupt``.
        """
        least = self._threshold if threshold is None else threshold
        return search(self._snapshot(snapshot), self.embedder, query, language, limit, least)

    def document(self, name: str, snapshot: str | None = None) -> str:
        """A document's Markdown; passages' ``start`` and ``end`` are offsets into it.

        Raises ``KnowledgeMissing`` and ``KnowledgeCorrupt``.
        """
        return self._snapshot(snapshot).text_of(name)

    # Reading --------------------------------------------------------------------------------------

    def _snapshot(self, id_: str | None) -> Snapshot:
        with self._lock:
            id_ = id_ or self._current()
            if id_ not in self._loaded:
                self._loaded[id_] = self._store.load(id_)
            self._look_after(id_)
            self._loaded.move_to_end(id_)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[id_]

    def _look_after(self, id_: str) -> None:
        """A snapshot whose folder is gone is searched as it was loaded and verified; that is said once."""
        if self._store.has(id_):
            self._gone.discard(id_)
        elif id_ not in self._gone:
            self._gone.add(id_)
            reason = f"{self.folder}: the folder of snapshot {id_} is gone: it is searched from memory. Put it back."
            log.warning("snapshot only in memory", fault=KnowledgeMissing.type, reason=reason)

    def _current(self) -> str:
        stamp = self._store.stamp()
        if stamp is not None and self._seen is not None and self._seen[0] == stamp:
            return self._seen[1]
        named = self._store.current()
        if stamp is None or named is None:
            raise KnowledgeMissing(
                f"{self.folder}: no snapshot is current; put documents in with `parley kb add PATH…`, or put back the "
                "folder that was there"
            )
        # Stamped before it was read: a change in between is seen by the next question.
        self._seen = (stamp, named)
        return named

    # Writing, inside the store's lock -------------------------------------------------------------

    def _previous(self) -> Snapshot | None:
        """The current snapshot, or None when there is none or it is damaged: then all is made anew."""
        try:
            return self._snapshot(None)
        except (KnowledgeMissing, KnowledgeCorrupt):
            return None

    def _make(self, documents: Sequence[Document], previous: Snapshot | None, progress: Progress | None) -> Snapshot:
        recipe = Recipe(self._chunking.describe(), self.embedder.digest, self.embedder.languages)
        id_ = recipe.id_for(documents)
        if not self._is_whole(id_):
            indices = build_indices(documents, self._chunking, self.embedder, previous, progress)
            self._store.write(recipe, documents, indices)
        snapshot = self._snapshot(id_)  # read back and verified before any reader sees it
        if not self._is_current(id_):
            self._store.publish(id_)
        return snapshot

    def _is_whole(self, id_: str) -> bool:
        try:
            return self._store.has(id_) and self._snapshot(id_) is not None
        except (KnowledgeMissing, KnowledgeCorrupt):
            return False

    def _is_current(self, id_: str) -> bool:
        try:
            return self._store.current() == id_
        except KnowledgeCorrupt:
            return False

    @staticmethod
    def _report(
        documents: Sequence[Document],
        before: dict[str, DocumentEntry],
        refused: Sequence[tuple[str, str]],
        snapshot: Snapshot,
    ) -> AddReport:
        same = {d.name for d in documents if d.name in before and before[d.name].digest == d.digest}
        return AddReport(
            added=tuple(document.name for document in documents if document.name not in same),
            unchanged=tuple(document.name for document in documents if document.name in same),
            refused=tuple(refused),
            snapshot=_info(snapshot),
        )


def _info(snapshot: Snapshot) -> SnapshotInfo:
    passages = sum(entry.passages for entry in snapshot.documents.values())
    return SnapshotInfo(snapshot.id, len(snapshot.documents), passages, snapshot.recipe.embedder)


def _documents(snapshot: Snapshot, *, without: set[str]) -> list[Document]:
    kept = (entry for entry in snapshot.documents.values() if entry.name not in without)
    return [document_of(entry.name, snapshot.text_of(entry.name), entry.title) for entry in kept]


def _read(paths: Iterable[Path], progress: Progress | None) -> tuple[list[Document], list[tuple[str, str]]]:
    files = list(find_documents(paths))
    documents: dict[str, Document] = {}
    refused: list[tuple[str, str]] = []
    for place, (name, path) in enumerate(files, 1):
        try:
            if name in documents:
                raise DocumentUnreadable(f"{path}: another file is called {name} too; give the folder that holds both")
            documents[name] = read_document(name, path)
        except DocumentUnreadable as fault:
            refused.append((name, fault.message))
        if progress is not None:
            progress("reading", place, len(files))
    return list(documents.values()), refused


def _none_readable(refused: Sequence[tuple[str, str]]) -> str:
    if not refused:
        return "no documents were given: name Markdown, text or HTML files, or folders that hold some"
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return f"{refused[0][1]}{more}"
