"""Where a registry keeps its files: what a back end has to do, and the one that is a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dialogue.faults import ModelCorrupt, RegistryUnavailable
from model_runtime.model_store import FileRecord

__all__ = ["Document", "FolderStore", "Store", "Told"]

Told = Callable[[int], None]
"""Called with how many more bytes are there."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A small file and the tag that names this content of it; ``None`` where the store gives none."""

    body: bytes
    tag: str | None


class Store(Protocol):
    """Files by path (``models/tiny/<digest>/config.json``). Every method may raise :class:`RegistryUnavailable`."""

    @property
    def where(self) -> str:
        """As people read it, without a password."""
        ...

    def read(self, path: str) -> Document | None:
        """A small file; ``None`` where there is none."""
        ...

    def replace(self, path: str, body: bytes, before: Document | None) -> bool:
        """Writes a small file whole if it is still as it was read; ``False`` where somebody else was first."""
        ...

    def write(self, path: str, body: bytes) -> None:
        """Writes a small file whole, whatever was there."""
        ...

    def put(self, path: str, file: Path, *, take: bool = False) -> None:
        """Brings a file in, in the place of what was there. ``take``: it may be moved rather than copied."""
        ...

    def fetch(self, folder: str, files: Mapping[str, FileRecord], target: Path, told: Told) -> None:
        """Copies files of a folder into ``target``, each checked as it comes.

        A fetch that was broken off may go on where it was. Raises :class:`ModelCorrupt` for one that differs.
        """
        ...

    def check(self, folder: str, files: Mapping[str, FileRecord], told: Told) -> None:
        """Reads every byte of these files. Raises :class:`ModelCorrupt` naming the first that differs or is gone."""
        ...

    def remove(self, folder: str, names: list[str]) -> None:
        """Removes files of a folder; those that are gone already are no fault."""
        ...


class FolderStore:
    """A folder, of this machine or shared. Writers wait for one another at a lock beside the index."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root)

    @property
    def where(self) -> str:
        return str(self._root)

    def read(self, path: str) -> Document | None:
        with self._usable():
            try:
                body = (self._root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return Document(body, hashlib.sha256(body).hexdigest())

    def replace(self, path: str, body: bytes, before: Document | None) -> bool:
        from filelock import FileLock

        with self._usable():
            self._root.mkdir(parents=True, exist_ok=True)
            with FileLock(self._root / ".lock"):
                now = self.read(path)
                if (now and now.tag) != (before and before.tag):
                    return False
                self.write(path, body)
                return True

    def write(self, path: str, body: bytes) -> None:
        with self._usable(), self._placed(path) as part:
            part.write_bytes(body)

    def put(self, path: str, file: Path, *, take: bool = False) -> None:
        with self._usable():
            if take:
                with contextlib.suppress(OSError):  # of another file system: copied
                    (self._root / path).parent.mkdir(parents=True, exist_ok=True)
                    file.rename(self._root / path)
                    return
            with self._placed(path) as part:
                shutil.copyfile(file, part)

    def fetch(self, folder: str, files: Mapping[str, FileRecord], target: Path, told: Told) -> None:
        for name, record in files.items():
            source = self._root / folder / name
            part = target / f"{name}.part"
            with self._usable():
                if self._digest(source, told, part) != record.sha256:
                    raise _differs(source)
                part.rename(target / name)

    def check(self, folder: str, files: Mapping[str, FileRecord], told: Told) -> None:
        for name, record in files.items():
            source = self._root / folder / name
            with self._usable():
                if self._digest(source, told) != record.sha256:
                    raise _differs(source)

    def remove(self, folder: str, names: list[str]) -> None:
        with self._usable():
            for name in names:
                (self._root / folder / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or gone already
                (self._root / folder).rmdir()

    def _digest(self, source: Path, told: Told, copy: Path | None = None) -> str:
        """SHA-256 of ``source``, copied while it is read: what was hashed is what was written."""
        digest = hashlib.sha256()
        try:
            reading = source.open("rb")
        except FileNotFoundError:
            raise ModelCorrupt(f"{source} is missing: {_WAY_OUT}") from None
        with reading, copy.open("wb") if copy else contextlib.nullcontext() as writing:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                if writing is not None:
                    writing.write(chunk)
                told(len(chunk))
        return digest.hexdigest()

    @contextlib.contextmanager
    def _placed(self, path: str) -> Iterator[Path]:
        """A file beside ``path`` to write, which takes its place in one step once it is on the disk."""
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise RegistryUnavailable(
                f"registry.location: {error.filename or self._root} cannot be used ({reason}): see to its rights and "
                "its disk, then do it again."
            ) from error


_WAY_OUT = "put back a copy of it, or remove the version (`parley model gc`) and build it again."


def _differs(path: Path | str) -> ModelCorrupt:
    return ModelCorrupt(f"{path} differs from its manifest (SHA-256): {_WAY_OUT}")
