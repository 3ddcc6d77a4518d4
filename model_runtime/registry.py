"""The registry: versions of models that never change, aliases that say which of them is used, and their history.

A version is a model's name and the digest of its files. ``prod`` and ``canary`` are aliases like any other. What there
is stands in one document (``registry_index``), which is replaced whole, and only as it was read: two writers at once
both get through, one after the other. Files are uploaded before the document names them and removed after it has
stopped to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from dialogue.faults import (
    ModelCorrupt,
    NoSuchVersion,
    PromotionRefused,
    RegistryConflict,
    RegistryUnavailable,
)
from model_runtime.build_record import BUILD, BuildRecord, parse_record
from model_runtime.model_store import (
    MANIFEST,
    FileRecord,
    ModelManifest,
    load_manifest,
    parse_manifest,
    publish_folder,
    verify,
)
from model_runtime.registry_index import (
    Index,
    Model,
    Move,
    Reference,
    Version,
    check_alias,
    check_name,
)
from model_runtime.registry_store import Document, Store
from model_runtime.room import check_room
from model_runtime.safe_files import check_names, check_weights

__all__ = ["Published", "Registry", "folder_of", "now"]

_INDEX = "index.json"
_CHANGES = 50
"""How often a change is tried anew: each time because another one got through."""
_SAME = ("method", "context", "languages", "reasoning", "files")
"""What two manifests of one digest must agree in; when and with what they were built may differ."""

_Result = TypeVar("_Result")
Share = Callable[[int, int], None]
"""Called with the bytes done and all of them."""


def now() -> str:
    """UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def folder_of(name: str, digest: str) -> str:
    """Where a version's files are within the store."""
    return f"models/{name}/{digest}"


@dataclass(frozen=True, slots=True)
class Published:
    """``new`` is False where this version was there already."""

    name: str
    digest: str
    new: bool


class Registry:
    """Every method may raise :class:`RegistryUnavailable`, and :class:`NoSuchVersion` where it takes a version."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def where(self) -> str:
        return self._store.where

    def index(self) -> Index:
        """All there is, as of now. Raises :class:`~dialogue.faults.RegistryFault` where it cannot be read."""
        return self._read()[0]

    def publish(
        self, name: str, folder: Path, *, by: str, record: BuildRecord | None = None, take: bool = False
    ) -> Published:
        """Brings in a prepared folder, verified whole, with its record. ``take``: the folder may be used up.

        Bringing in the same again does nothing. Raises :class:`RegistryConflict` where this digest is there with
        another content, :class:`~dialogue.faults.UnsafeModel`, :class:`ModelCorrupt`, and
        :class:`~dialogue.faults.ModelMissing` where the folder holds no prepared model.
        """
        manifest = load_manifest(folder)
        check_names(manifest.files, str(folder / MANIFEST))  # before any of them is opened
        verify(folder)
        check_weights(folder, manifest.files)
        where = folder_of(check_name(name), manifest.digest)
        if self._there(name, manifest, self._read()[0]):
            return Published(name, manifest.digest, new=False)
        for file in manifest.files:
            self._store.put(f"{where}/{file}", folder / file, take=take)
        if record is not None:
            self._store.write(f"{where}/{BUILD}", record.to_json())
        self._store.write(f"{where}/{MANIFEST}", manifest.to_json().encode())
        size = sum(file.bytes for file in manifest.files.values())
        version = Version(manifest.method, size, by, now())

        def add(index: Index) -> Published:
            if self._there(name, manifest, index):
                return Published(name, manifest.digest, new=False)
            index.models.setdefault(name, Model()).versions[manifest.digest] = version
            return Published(name, manifest.digest, new=True)

        return self.change(add)

    def _there(self, name: str, manifest: ModelManifest, index: Index) -> bool:
        model = index.models.get(name)
        version = model.versions.get(manifest.digest) if model else None
        if version is None:
            return False
        if version.removing:
            raise RegistryUnavailable(
                f"{name}@{manifest.digest[:12]} is being removed: let `parley model gc --yes` end, then publish again."
            )
        kept = self.manifest(name, manifest.digest)
        if differing := [field for field in _SAME if getattr(kept, field) != getattr(manifest, field)]:
            raise RegistryConflict(
                f"{name}@{manifest.digest[:12]} is in the registry with another {', '.join(differing)}. The first one "
                "stays: publish under another name."
            )
        return True

    def resolve(self, reference: Reference) -> str:
        """The whole digest that an alias or the beginning of a digest stands for now."""
        return self._read()[0].resolve(reference)

    def manifest(self, name: str, digest: str) -> ModelManifest:
        """Raises :class:`ModelCorrupt` where it is gone or is not this version's, ``UnsafeModel`` for its names."""
        path = f"{folder_of(name, digest)}/{MANIFEST}"
        where, way_out = f"{self.where}: {path}", "put back a copy of it, or build and publish the model again."
        kept = self._store.read(path)
        if kept is None:
            raise ModelCorrupt(f"{where} is missing: {way_out}")
        manifest = parse_manifest(kept.body, where, way_out)
        if manifest.digest != digest:
            raise ModelCorrupt(f"{where} is another version's ({manifest.digest[:12]}…): {way_out}")
        check_names(manifest.files, where)
        return manifest

    def record(self, name: str, digest: str) -> BuildRecord | None:
        """How it was built and what was measured; ``None`` where nobody wrote that down."""
        path = f"{folder_of(name, digest)}/{BUILD}"
        kept = self._store.read(path)
        return None if kept is None else parse_record(kept.body, f"{self.where}: {path}")

    def write_record(self, name: str, digest: str, record: BuildRecord) -> None:
        """Puts the record of a published version in place of the one it has."""
        self.resolve(Reference(name, digest))
        self._store.write(f"{folder_of(name, digest)}/{BUILD}", record.to_json())

    def verify(self, name: str, digest: str, told: Share = lambda done, total: None) -> ModelManifest:
        """Reads every byte of a version. Raises :class:`ModelCorrupt` naming the first file that differs."""
        manifest = self.manifest(name, digest)
        self._store.check(folder_of(name, digest), manifest.files, _counted(manifest.files, told))
        return manifest

    def promote(
        self, reference: Reference, alias: str, *, by: str, reason: str = "", force: bool = False
    ) -> tuple[str, str | None]:
        """Sets an alias to a version; gives its digest and the one before. Setting it to where it is does nothing.

        Raises :class:`PromotionRefused` for a version whose record says ``gate: failed``, unless ``force``.
        """
        check_alias(alias)
        digest = self.resolve(reference)
        record = self.record(reference.name, digest)
        if record is not None and record.gate == "failed" and not (force and reason):
            raise PromotionRefused(
                f"{reference}: its gate failed (`parley model show {reference.name}@{digest[:12]}`). Build a better "
                "one, or promote it all the same with --force --reason WHY."
            )

        tried: list[tuple[Move, str | None]] = []

        def move(index: Index) -> tuple[str, str | None]:
            index.resolve(Reference(reference.name, digest))  # it may have been removed meanwhile
            moves = index.model(reference.name).alias(alias).moves
            if tried and tried[-1][0] in moves:
                return digest, tried[-1][1]
            before = moves[-1].digest if moves else None
            if before != digest:
                tried.append((Move(digest, by, now(), reason=reason), before))
                moves.append(tried[-1][0])
            return digest, before

        return self.change(move)

    def rollback(self, name: str, alias: str, *, by: str, reason: str = "") -> tuple[str, str]:
        """Puts an alias to where it was before; gives that digest and the one it leaves. Twice goes two steps back."""

        tried: list[tuple[Move, str]] = []

        def move(index: Index) -> tuple[str, str]:
            found = index.model(name).aliases.get(alias)
            if found is not None and tried and tried[-1][0] in found.moves:
                return tried[-1][0].digest, tried[-1][1]
            if found is None:
                raise NoSuchVersion(f"{name}@{alias}: there is no such alias. Look with `parley model list`.")
            stack = found.before()
            if len(stack) < 2:
                raise NoSuchVersion(
                    f"{name}@{alias}: there was no version before {found.digest[:12]}; "
                    f"promote one with `parley model promote {name}@DIGEST {alias}`."
                )
            index.resolve(Reference(name, stack[-2]))
            tried.append((Move(stack[-2], by, now(), "rollback", reason), found.digest))
            found.moves.append(tried[-1][0])
            return stack[-2], tried[-1][1]

        return self.change(move)

    def fetch(self, name: str, digest: str, target: Path, told: Share = lambda done, total: None) -> ModelManifest:
        """Puts a version into the folder ``target``, every file checked, in one rename.

        What stood there goes. Raises :class:`ModelCorrupt`, and :class:`~dialogue.faults.ModelFault` where there is
        no room for it, before anything is written.
        """
        manifest = self.manifest(name, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        fetching = target.with_name(f".{target.name}.{digest[:12]}.fetching")
        check_room(fetching, sum(file.bytes for file in manifest.files.values()))
        fetching.mkdir(exist_ok=True)
        self._store.fetch(folder_of(name, digest), manifest.files, fetching, _counted(manifest.files, told))
        (fetching / MANIFEST).write_text(manifest.to_json(), "utf-8")
        publish_folder(fetching, target)
        return manifest

    def remove(self, name: str, digest: str, why_not: Callable[[Index], str | None]) -> str | None:
        """Takes a version away, unless ``why_not`` has a reason when it comes to it; gives that reason.

        First nobody can name it any more, then its files go, then the registry forgets it. Broken off in between, it
        is gone on with the next time.
        """

        def hide(index: Index) -> str | None:
            reason = why_not(index)
            if reason is None:
                versions = index.model(name).versions
                versions[digest] = replace(versions[digest], removing=True)
            return reason

        def forget(index: Index) -> None:
            model = index.model(name)
            model.versions.pop(digest, None)
            if not model.versions:
                del index.models[name]

        if (reason := self.change(hide)) is not None:
            return reason
        try:
            files = list(self.manifest(name, digest).files)
        except ModelCorrupt:  # its manifest goes last, so its files went already
            files = []
        self._store.remove(folder_of(name, digest), [*files, BUILD])
        self._store.remove(folder_of(name, digest), [MANIFEST])
        self.change(forget)
        return None

    def change(self, what: Callable[[Index], _Result]) -> _Result:
        """Changes the index as it is now, however many others do so at once.

        ``what`` may find its change made already: a store cannot always tell whether a write was lost or only written
        over by the next one.
        """
        for _ in range(_CHANGES):
            index, before = self._read()
            result = what(index)
            body = index.to_json()
            if (before and before.body) == body or self._store.replace(_INDEX, body, before):
                return result
        raise RegistryUnavailable(f"{self.where}: others change it all the time; do it again.")

    def _read(self) -> tuple[Index, Document | None]:
        before = self._store.read(_INDEX)
        return (Index.from_json(before.body, f"{self.where}: {_INDEX}") if before else Index()), before


def _counted(files: dict[str, FileRecord], told: Share) -> Callable[[int], None]:
    total, done = sum(file.bytes for file in files.values()), 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        told(done, total)

    return more
