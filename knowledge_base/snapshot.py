"""Snapshots: immutable folders named by what is in them, and the pointer that says which is current.

::

    <folder>/current                     the id of the current snapshot; replaced, never written in place
    <folder>/lock                        held by the one writer
    <folder>/snapshots/<id>/manifest.json
                            passages.jsonl
                            documents/<sha256>.md
                            <language>/bm25/…, passages.faiss, sentences.faiss

A snapshot's id is the SHA-256 of its documents' names and digests, the chunking, the embedder's digest and the
format: the same documents give the same id. The manifest holds each other file's SHA-256 and its own, checked at
loading.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dialogue.faults import KnowledgeCorrupt, KnowledgeFault, KnowledgeMissing
from knowledge_base.documents import Document
from knowledge_base.index import IndexedPassage, LanguageIndex
from knowledge_base.text import Span

__all__ = ["FORMAT", "DocumentEntry", "Recipe", "Snapshot", "SnapshotStore"]

FORMAT = 1
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """One document of a snapshot; ``digest`` is the SHA-256 of its Markdown."""

    name: str
    title: str
    language: str
    passages: int
    characters: int
    digest: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """What besides the documents decides a snapshot's content."""

    chunking: dict[str, int]
    embedder: str
    languages: tuple[str, ...]

    def id_for(self, documents: Sequence[Document] | Sequence[DocumentEntry]) -> str:
        """The id of the snapshot that these documents make."""
        named = sorted((document.name, document.digest) for document in documents)
        return _digest_of({"format": FORMAT, "recipe": asdict(self), "documents": named})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot in memory. ``indices`` by language."""

    id: str
    folder: Path
    recipe: Recipe
    documents: dict[str, DocumentEntry]
    indices: dict[str, LanguageIndex]

    def text_of(self, name: str) -> str:
        """A document's Markdown. Raises :class:`KnowledgeMissing` when there is none of that name, and
        :class:`KnowledgeCorrupt` when its file cannot be read."""
        entry = self.documents.get(name)
        if entry is None:
            raise KnowledgeMissing(
                f"the knowledge base holds no document {name!r}; `parley kb list` shows what it holds"
            )
        file = self.folder / "documents" / f"{entry.digest}.md"
        try:
            return file.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise KnowledgeCorrupt(f"{file}: is missing or cannot be read; {_WAY_OUT}") from error


class SnapshotStore:
    """The snapshots below a folder. Readers take no lock; a writer holds :meth:`writing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._snapshots = folder / "snapshots"
        self._pointer = folder / "current"

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever the pointer does; None when there is no pointer. Costs one ``stat``."""
        try:
            seen = self._pointer.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise KnowledgeCorrupt(f"{self._pointer}: cannot be read ({error.strerror}); {_WAY_OUT}") from error
        return seen.st_ino, seen.st_mtime_ns

    def current(self) -> str | None:
        """The id of the current snapshot, or None when none was ever made current."""
        try:
            named = self._pointer.read_text("ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise KnowledgeCorrupt(f"{self._pointer}: cannot be read ({error}); {_WAY_OUT}") from error
        if not _ID.fullmatch(named):
            raise KnowledgeCorrupt(f"{self._pointer}: names no snapshot; {_WAY_OUT}")
        return named

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Waits until no other process or thread writes, and keeps the others out. What a dead writer left goes.

        Raises :class:`KnowledgeFault` where nothing can be written, as :meth:`write` and :meth:`publish` do: readers
        then have what they had.
        """
        with contextlib.ExitStack() as stack:
            with _told(self.folder):
                self._snapshots.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((self.folder / "lock").open("a"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            for left in self._snapshots.glob(".building-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield

    def has(self, id_: str) -> bool:
        return bool(_ID.fullmatch(id_)) and (self._snapshots / id_ / "manifest.json").is_file()

    def all(self) -> list[tuple[str, int]]:
        """Each snapshot's id and its bytes, in the order in which they were made."""
        if not self._snapshots.is_dir():
            return []
        folders = [folder for folder in self._snapshots.iterdir() if _ID.fullmatch(folder.name)]
        folders.sort(key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
        return [(each.name, sum(file.stat().st_size for file in each.rglob("*") if file.is_file())) for each in folders]

    def remove(self, id_: str) -> None:
        """Takes a snapshot away, out of sight in one step. Call inside :meth:`writing`."""
        with _told(self.folder):
            going = Path(tempfile.mkdtemp(prefix=".building-", dir=self._snapshots))
            (self._snapshots / id_).rename(going / id_)
            shutil.rmtree(going)

    def publish(self, id_: str) -> None:
        """Makes a snapshot current, in one step."""
        fresh = self._pointer.with_name(f".current-{os.getpid()}")
        try:
            with _told(self.folder), fresh.open("w", encoding="ascii") as opened:
                opened.write(id_ + "\n")
                opened.flush()
                os.fsync(opened.fileno())
                fresh.replace(self._pointer)
        finally:
            fresh.unlink(missing_ok=True)

    def write(self, recipe: Recipe, documents: Sequence[Document], indices: dict[str, LanguageIndex]) -> str:
        """Writes a snapshot aside, puts it in its place in one step, and gives its id. Call inside :meth:`writing`."""
        id_ = recipe.id_for(documents)
        with _told(self.folder):
            building = Path(tempfile.mkdtemp(prefix=".building-", dir=self._snapshots))
            try:
                _fill(building, id_, recipe, documents, indices)
                target = self._snapshots / id_
                if target.exists():  # damaged, or it would not have been built again
                    shutil.rmtree(target)
                building.chmod(0o755)
                building.rename(target)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        return id_

    def load(self, id_: str) -> Snapshot:
        """Reads and verifies a snapshot.

        Raises :class:`KnowledgeMissing` when there is none of that id and :class:`KnowledgeCorrupt`, naming the
        file, when one differs from what the id and the manifest say.
        """
        with self._readable(id_):
            return self._read(id_)

    def verified(self, id_: str) -> tuple[Recipe, dict[str, DocumentEntry]]:
        """What a snapshot was made of, once all its files are found to be right. Raises as :meth:`load` does."""
        with self._readable(id_):
            manifest = self._verified(id_)
            return _recipe(manifest), _entries_of(manifest)

    @contextlib.contextmanager
    def _readable(self, id_: str) -> Iterator[None]:
        """Tells what keeps a snapshot from being read as a fault."""
        try:
            yield
        except (KnowledgeCorrupt, OSError, RuntimeError, ValueError, KeyError) as error:
            if not self.has(id_):
                missing = f"{self._snapshots}: snapshot {id_[:12]}… is missing; put its folder back, or {_WAY_OUT}"
                raise KnowledgeMissing(missing, snapshot=id_) from error
            if isinstance(error, KnowledgeCorrupt):
                raise
            folder = self._snapshots / id_
            raise KnowledgeCorrupt(f"{folder}: cannot be read ({error}); {_WAY_OUT}", snapshot=id_) from error

    def _read(self, id_: str) -> Snapshot:
        manifest = self._verified(id_)
        folder, recipe, entries = self._snapshots / id_, _recipe(manifest), _entries_of(manifest)
        by_language: dict[str, list[IndexedPassage]] = {language: [] for language in manifest["languages"]}
        snapshot = Snapshot(id_, folder, recipe, entries, {})
        texts = {name: snapshot.text_of(name) for name in entries}
        with (folder / "passages.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                index, passage = _passage_of(json.loads(line), entries, texts)
                by_language[index].append(passage)
        for language, passages in by_language.items():
            snapshot.indices[language] = LanguageIndex.load(folder / language, passages)
        return snapshot

    def _verified(self, id_: str) -> dict[str, Any]:
        folder = self._snapshots / id_
        manifest = _manifest(folder, id_)
        for name, digest in manifest["files"].items():
            _verify(folder / name, digest)
        return manifest


_WAY_OUT = "build it again with `parley kb add PATH…`"


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Tells a full disk, or one that may not be written, as a fault."""
    try:
        yield
    except OSError as error:
        raise KnowledgeFault(
            f"{folder}: cannot be written ({error.strerror or error}). Make room on its disk, or let this user write "
            "there; what is current stays as it was."
        ) from error


def _fill(
    building: Path, id_: str, recipe: Recipe, documents: Sequence[Document], indices: dict[str, LanguageIndex]
) -> None:
    """Every file of a snapshot, the manifest with their digests last."""
    (building / "documents").mkdir()
    for document in documents:
        (building / "documents" / f"{document.digest}.md").write_bytes(document.text.encode())
    with (building / "passages.jsonl").open("w", encoding="utf-8") as opened:
        for language, index in indices.items():
            opened.writelines(_passage_line(language, passage) for passage in index.passages)
    for language, index in indices.items():
        index.save(building / language)
    manifest = {
        "format": FORMAT,
        "id": id_,
        "recipe": asdict(recipe),
        "languages": list(indices),
        "documents": [asdict(entry) for entry in _entries(documents, indices)],
        "files": {name: _sha256(building / name) for name in _files(building)},
    }
    manifest["digest"] = _digest_of(manifest)
    (building / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=1), "utf-8")


def _manifest(folder: Path, id_: str) -> dict[str, Any]:
    file = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(file.read_text("utf-8"))
        entries = [DocumentEntry(**entry) for entry in manifest["documents"]]
        if manifest["format"] != FORMAT:
            raise KnowledgeCorrupt(
                f"{file}: has format {manifest['format']}, this version reads {FORMAT}; {_WAY_OUT}", snapshot=id_
            )
        whole = _recipe(manifest).id_for(entries) == id_ and manifest.pop("digest") == _digest_of(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KnowledgeCorrupt(f"{file}: cannot be read as a manifest; {_WAY_OUT}", snapshot=id_) from error
    if not whole:
        raise KnowledgeCorrupt(f"{file}: differs from its digest or the snapshot's name; {_WAY_OUT}", snapshot=id_)
    return manifest


def _entries_of(manifest: dict[str, Any]) -> dict[str, DocumentEntry]:
    return {entry["name"]: DocumentEntry(**entry) for entry in manifest["documents"]}


def _recipe(manifest: dict[str, Any]) -> Recipe:
    stored = manifest["recipe"]
    return Recipe(stored["chunking"], stored["embedder"], tuple(stored["languages"]))


def _verify(file: Path, digest: str) -> None:
    try:
        same = _sha256(file) == digest
    except OSError as error:
        raise KnowledgeCorrupt(f"{file}: is missing or cannot be read; {_WAY_OUT}") from error
    if not same:
        raise KnowledgeCorrupt(f"{file}: differs from its digest in the manifest; {_WAY_OUT}")


def _entries(documents: Sequence[Document], indices: dict[str, LanguageIndex]) -> Iterator[DocumentEntry]:
    counts: dict[str, int] = {}
    for index in indices.values():
        for passage in index.passages:
            counts[passage.document] = counts.get(passage.document, 0) + 1
    for document in sorted(documents, key=lambda document: document.name):
        yield DocumentEntry(
            document.name,
            document.title,
            document.language,
            counts.get(document.name, 0),
            len(document.text),
            document.digest,
        )


def _passage_line(language: str, passage: IndexedPassage) -> str:
    described = {
        "index": language,
        "document": passage.document,
        "section": passage.section,
        "start": passage.start,
        "end": passage.end,
        "sentences": [[span.start, span.end] for span in passage.sentences],
    }
    return json.dumps(described, ensure_ascii=False) + "\n"


def _passage_of(
    stored: dict[str, Any], entries: dict[str, DocumentEntry], texts: dict[str, str]
) -> tuple[str, IndexedPassage]:
    name, start, end = stored["document"], stored["start"], stored["end"]
    spans = tuple(Span(*span) for span in stored["sentences"])
    return stored["index"], IndexedPassage(
        id=f"{name}:{start}-{end}",
        document=name,
        title=entries[name].title,
        section=stored["section"],
        language=stored["index"],
        text=texts[name][start:end],
        start=start,
        end=end,
        sentences=spans,
    )


def _digest_of(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
