"""An incident in one file: a zip with a signed manifest, read again with no server, no database and no settings.

``manifest.json`` holds the SHA-256 of every other file and is signed (Ed25519); the public key lies beside it. What the
bundle holds is what was signed; whose key that is, tells only a public key that came another way.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from dialogue.base import Value
from dialogue.faults import BundleBroken, ContentMissing, InvalidRequest, ReceiptInvalid
from records.audit_rows import KeptRow
from records.payloads import data_converter
from records.signing import Signer, Verifier
from replay.chain import Chain
from replay.histories import from_text
from replay.shown import AuditShown, held_against
from replay.turns import Turn

__all__ = ["AUDIT", "Bundle", "Manifest", "ManifestRun", "history_name", "pack", "prompt_name", "read_bundle"]

FORMAT = "parley-incident/1"
MANIFEST, SIGNATURE, PUBLIC_KEY, AUDIT = "manifest.json", "manifest.sig", "public-key.pem", "audit.json"
_UNSIGNED = {MANIFEST, SIGNATURE, PUBLIC_KEY}
_MOST_BYTES = 2 << 30
"""Of all files together: who opens a bundle may have it from anybody."""
_AGAIN = "Take it again from whoever exported it."


class ManifestRun(Value):
    file: str
    run_id: str
    workflow_type: str
    events: int


class Manifest(Value):
    """``files``: SHA-256 by name. ``absent``: what the turns name and the site could not give, and why.
    ``left_out``: what would give away what was redacted."""

    format: str = FORMAT
    conversation: str
    tenant: str
    turns: int
    exported_at: str
    parley: str
    redacted: bool
    key: str
    runs: tuple[ManifestRun, ...]
    models: dict[str, str] = Field(default_factory=dict, description="name by digest")
    snapshots: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    files: dict[str, str]


def history_name(number: int) -> str:
    """Of the chain's run, from 1."""
    return f"histories/{number}.json"


def prompt_name(turn: int) -> str:
    return f"prompts/turn-{turn}.txt"


def pack(manifest: Manifest, files: Mapping[str, bytes], signer: Signer) -> bytes:
    """The zip. The manifest's ``key`` and ``files`` are set here."""
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    signed = manifest.model_copy(update={"key": signer.id, "files": digests})
    told = signed.model_dump_json(indent=1).encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(MANIFEST, told)
        packed.writestr(SIGNATURE, signer.sign(told))
        packed.writestr(PUBLIC_KEY, signer.public_pem())
        for name, body in files.items():
            packed.writestr(name, body)
    return held.getvalue()


class Bundle:
    """One that holds. ``path`` is where it was read."""

    def __init__(self, path: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        self.path, self.manifest, self._files = path, manifest, files

    async def chain(self, run: str | None = None) -> Chain:
        """With ``run``, its id, that one alone. Raises HistoryUnreadable and HistoryForeign, as for any exported
        history, and NoSuchHistory for a run that is not in it."""
        names = [history_name(number) for number in range(1, len(self.manifest.runs) + 1)]
        texts = [self.text(name) for name in names]
        runs = [
            await from_text(self.path / name, text, data_converter) for name, text in zip(names, texts, strict=True)
        ]
        chain = Chain(self.manifest.conversation, tuple(runs))
        return chain.only(run) if run else chain

    def audit_of(self, turn: Turn) -> AuditShown:
        rows: list[Any] = json.loads(self.text(AUDIT))
        row = next((row for row in map(KeptRow.model_validate, rows) if row.turn == turn.turn), None)
        return held_against(row, turn)

    def prompt_of(self, turn: Turn) -> str:
        """Raises ContentMissing where it holds none, saying why where that is known."""
        return self.text(prompt_name(turn.turn))

    def text(self, name: str) -> str:
        """Raises ContentMissing."""
        if name not in self._files:
            why = next(
                (
                    f" ({each})"
                    for each in (*self.manifest.absent, *self.manifest.left_out)
                    if each.startswith(f"{name}:")
                ),
                "",
            )
            raise ContentMissing(f"{self.path}: it holds no {name}{why}. Ask the site that exported it.")
        return self._files[name].decode()


def read_bundle(path: Path, keys: Verifier | None = None) -> Bundle:
    """The bundle, every byte of its files held against the manifest, and that against the signature.

    ``keys``: public keys that its signer must be one of. Raises BundleBroken, naming the first file that is not as it
    was signed, and InvalidRequest for a path that cannot be opened.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"bundle: {path} cannot be opened ({error.strerror}).", field="bundle") from None
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            files = _files(path, packed)
    except (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError, OSError) as error:
        raise BundleBroken(f"{path}: it is no bundle, or only a part of one ({error}). {_AGAIN}") from None
    manifest = _signed_manifest(path, files, keys)
    for name in sorted({*files, *manifest.files} - _UNSIGNED):
        if name not in files:
            raise BundleBroken(f"{path}: {name} is in its manifest and not in it. {_AGAIN}")
        if name not in manifest.files:
            raise BundleBroken(f"{path}: {name} is not in its manifest: it was put in afterwards. {_AGAIN}")
        if hashlib.sha256(files[name]).hexdigest() != manifest.files[name]:
            raise BundleBroken(f"{path}: {name} was changed after it was signed. {_AGAIN}")
    return Bundle(path, manifest, {name: body for name, body in files.items() if name not in _UNSIGNED})


def _files(path: Path, packed: zipfile.ZipFile) -> dict[str, bytes]:
    if sum(each.file_size for each in packed.infolist()) > _MOST_BYTES:
        raise BundleBroken(f"{path}: it would unpack to more than {_MOST_BYTES >> 30} GiB. {_AGAIN}")
    found: dict[str, bytes] = {}
    for each in packed.infolist():
        try:
            body = packed.read(each)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError):
            raise BundleBroken(f"{path}: {each.filename} is damaged. {_AGAIN}") from None
        if each.filename in found:
            raise BundleBroken(f"{path}: {each.filename} is in it twice. {_AGAIN}")
        found[each.filename] = body
    return found


def _signed_manifest(path: Path, files: Mapping[str, bytes], keys: Verifier | None) -> Manifest:
    for name in (MANIFEST, SIGNATURE, PUBLIC_KEY):
        if name not in files:
            raise BundleBroken(f"{path}: {name} is not in it: is this a bundle of `parley replay export`?")
    told = files[MANIFEST]
    try:
        manifest = Manifest.model_validate_json(told)
    except ValidationError:
        raise BundleBroken(f"{path}: {MANIFEST} cannot be read: it was changed. {_AGAIN}") from None
    if manifest.format != FORMAT:
        raise BundleBroken(f"{path}: {MANIFEST} is of the format {manifest.format}; this Parley reads {FORMAT}.")
    try:
        beside = Verifier.of_pem(files[PUBLIC_KEY], PUBLIC_KEY)
    except ReceiptInvalid:
        raise BundleBroken(f"{path}: {PUBLIC_KEY} holds no key: it was changed. {_AGAIN}") from None
    if not beside.knows(manifest.key):
        raise BundleBroken(f"{path}: {PUBLIC_KEY} is not the key {manifest.key} that signed {MANIFEST}. {_AGAIN}")
    signature = files[SIGNATURE].decode("ascii", "replace")
    if not beside.verify(manifest.key, told, signature):
        raise BundleBroken(f"{path}: {MANIFEST} is not as {SIGNATURE} signed it. {_AGAIN}")
    if keys is not None and not keys.verify(manifest.key, told, signature):
        raise BundleBroken(f"{path}: it was signed with {manifest.key}, which is not among the public keys given.")
    return manifest
