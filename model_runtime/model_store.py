"""Prepared models on disk: a folder each, with a manifest that holds the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dialogue.faults import ModelCorrupt, ModelMissing

__all__ = [
    "MANIFEST",
    "FileRecord",
    "ModelManifest",
    "file_digest",
    "load_manifest",
    "overall_digest",
    "parse_manifest",
    "publish_folder",
    "verify",
    "verify_file",
]

MANIFEST = "manifest.json"
FORMAT = 1
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class FileRecord:
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What stands in a model folder. ``digest`` names the files' content and how they are held, nothing else;
    ``context`` is in tokens, ``source_sizes`` the source's files with their bytes."""

    name: str
    method: str
    digest: str
    source: str
    source_digest: str
    source_sizes: dict[str, int]
    files: dict[str, FileRecord]
    bytes_before: int
    bytes_after: int
    built_seconds: float
    built_with: dict[str, str]
    context: int
    languages: tuple[str, ...]
    reasoning: str
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def overall_digest(files: dict[str, FileRecord], method: str) -> str:
    """SHA-256 over the method and each file's name and digest."""
    lines = [f"{FORMAT} {method}", *(f"{record.sha256} {name}" for name, record in sorted(files.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_manifest(folder: Path) -> ModelManifest:
    """Raises :class:`ModelMissing` where nothing was prepared, :class:`ModelCorrupt` where it cannot be read."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise ModelMissing(f"{path} is missing: this model was not prepared; run `parley prepare`")
    return parse_manifest(path.read_bytes(), str(path), _way_out(Path(folder)))


def parse_manifest(body: bytes, where: str, way_out: str) -> ModelManifest:
    """Raises :class:`ModelCorrupt` where it cannot be read or does not hold together, saying ``way_out``."""
    try:
        raw: dict[str, Any] = json.loads(body)
        files = {name: FileRecord(**record) for name, record in raw.pop("files").items()}
        manifest = ModelManifest(**{**raw, "files": files, "languages": tuple(raw["languages"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelCorrupt(f"{where} cannot be read ({error}): {way_out}") from error
    if manifest.digest != overall_digest(files, manifest.method):
        raise ModelCorrupt(f"{where} does not match its own digest: {way_out}")
    return manifest


def verify(folder: Path, *, names: Iterable[str] | None = None, full: bool = True) -> ModelManifest:
    """Compares the files (or those of ``names``) with the manifest, and gives the manifest.

    Not ``full``: sizes, and the digests of small files only, which takes no time. Raises :class:`ModelMissing` or
    :class:`ModelCorrupt` naming the file and the way out.
    """
    manifest = load_manifest(folder)
    for name in manifest.files if names is None else names:
        verify_file(Path(folder) / name, manifest.files[name], full=full)
    return manifest


def verify_file(path: Path, record: FileRecord, *, full: bool = True) -> None:
    """One file of a model's folder, as :func:`verify` does it. Other threads run while it is hashed."""
    if not path.is_file():
        raise ModelCorrupt(f"{path} is missing: {_way_out(path.parent)}")
    size = path.stat().st_size
    if size != record.bytes:
        raise ModelCorrupt(f"{path} has {size} bytes where its manifest says {record.bytes}: {_way_out(path.parent)}")
    if (full or size <= _SMALL) and file_digest(path) != record.sha256:
        raise ModelCorrupt(f"{path} differs from its manifest (SHA-256): {_way_out(path.parent)}")


def publish_folder(building: Path, target: Path) -> None:
    """One rename, so that nobody sees half of it; what stood there before goes."""
    aside = target.with_name(f".{target.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    if target.exists():
        target.rename(aside)
    building.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def _way_out(folder: Path) -> str:
    return f"delete the folder {folder} and run `parley prepare`"
