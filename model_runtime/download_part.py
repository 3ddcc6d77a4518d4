"""What has come of a file that is downloaded: on the disk as it comes, and hashed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

__all__ = ["Part", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be there: its size in bytes, and its SHA-256, or where that is not known the SHA-1 git gives it."""

    name: str
    url: str
    bytes: int
    sha256: str | None = None
    git_sha1: str | None = None


class Part:
    """What has come of a file, hashed as it comes. Closed at the end of its ``with``."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self._path, self._wanted = path, wanted
        self._file: BinaryIO
        self.size = 0

    def __enter__(self) -> Self:
        # unbuffered: what was written is the operating system's, and outlives this process
        self._file = self._path.open("r+b" if self._path.exists() else "w+b", buffering=0)
        self._new_digests()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def _new_digests(self) -> None:
        self._sha256 = hashlib.sha256()
        # that of git, `git hash-object` of the file; only where it is asked for, as it costs as much again
        header = b"blob %d\0" % self._wanted.bytes
        self._sha1 = hashlib.sha1(header, usedforsecurity=False) if self._wanted.git_sha1 else None

    def read_back(self) -> None:
        """Takes over what an earlier process wrote. More than the whole is of another file."""
        if os.fstat(self._file.fileno()).st_size > self._wanted.bytes:
            self.restart()
        while chunk := self._file.read(1 << 20):
            self._hash(chunk)

    def _hash(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        if self._sha1 is not None:
            self._sha1.update(chunk)
        self.size += len(chunk)

    def add(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        self._new_digests()

    def to_disk(self) -> None:
        os.fsync(self._file.fileno())

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def is_right(self) -> bool:
        """Whether it is the file that was wanted. Where both digests are known both must be right."""
        return (
            self.size == self._wanted.bytes
            and self._wanted.sha256 in (None, self._sha256.hexdigest())
            and (self._sha1 is None or self._sha1.hexdigest() == self._wanted.git_sha1)
        )
