"""The site's signing key (Ed25519): for receipts and for checkpoints of the audit's chain.

The file holds private keys in PEM, one behind another: the first signs, all verify, so that a new one is put in front.
"""

from __future__ import annotations

import base64
import hashlib
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dialogue.faults import ReceiptInvalid, SettingsFault
from dialogue.messages import TextFile, message_digest, text_digest
from dialogue.receipt import Receipt, passages_digest
from records.audit_rows import AuditRow
from records.private_file import write_private_once
from settings.layout import Layout
from settings.schema import Settings

__all__ = ["Signer", "Verifier", "check_receipt", "receipt_of"]

_SETTING = "encryption.signing_key"
_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


class Verifier:
    """Holds signatures against public keys, by their ids."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def of_pem(cls, text: bytes, where: str) -> Verifier:
        """Public keys in PEM, one behind another. Raises ReceiptInvalid where there is none."""
        found: dict[str, Ed25519PublicKey] = {}
        for block in _BLOCK.findall(text):
            try:
                key = load_pem_public_key(block)
            except ValueError:
                continue
            if isinstance(key, Ed25519PublicKey):
                found[_id(key)] = key
        if not found:
            raise ReceiptInvalid(f"{where}: holds no public key (Ed25519, PEM). `parley audit receipt key` prints it.")
        return cls(found)

    def knows(self, id_: str) -> bool:
        return id_ in self._keys

    def verify(self, id_: str, signed: bytes, signature: str) -> bool:
        """Whether the key of that id signed just this."""
        key = self._keys.get(id_)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(signature, validate=True), signed)
        except (InvalidSignature, ValueError):
            return False
        return True

    def public_bytes(self) -> bytes:
        """The 32 bytes of the first key."""
        return next(iter(self._keys.values())).public_bytes(Encoding.Raw, PublicFormat.Raw)

    def public_pem(self) -> str:
        """The keys that it knows, the one that signs first."""
        blocks = (key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for key in self._keys.values())
        return b"".join(blocks).decode("ascii")


class Signer(Verifier):
    """Signs with the first of its keys."""

    def __init__(self, keys: list[Ed25519PrivateKey]) -> None:
        super().__init__({_id(key.public_key()): key.public_key() for key in keys})
        self._private = keys[0]
        self.id = _id(keys[0].public_key())

    @classmethod
    def open(cls, settings: Settings) -> Signer:
        """The key that ``encryption.signing_key`` names, or one below ``data``, which is made where there is none.

        Raises SettingsFault.
        """
        given = settings.encryption.signing_key
        path = settings.resolve(given) if given else Layout.of(settings).signing_key
        return cls.at(path, _SETTING, make=given is None)

    @classmethod
    def at(cls, path: Path, setting: str, *, make: bool) -> Signer:
        """The keys in that file, which ``setting`` names. Raises SettingsFault."""
        if make and not path.exists():
            new = Ed25519PrivateKey.generate()
            pem = new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private_once(path, pem.decode("ascii"))
        return cls(_read(path, setting))

    def sign(self, data: bytes) -> str:
        """Base64."""
        return base64.b64encode(self._private.sign(data)).decode("ascii")

    def receipt(self, receipt: Receipt) -> Receipt:
        """The same, signed."""
        named = receipt.model_copy(update={"key": self.id})
        return named.model_copy(update={"signature": self.sign(named.signed_bytes())})


def receipt_of(row: AuditRow, id_: int, hash_: str, signer: Signer) -> Receipt:
    """Of an answer and the row that the audit has of it; made again it is the same."""
    return signer.receipt(
        Receipt(
            tenant=row.tenant,
            conversation=row.conversation,
            turn=row.turn,
            question=row.input_digest,
            answer=text_digest(row.output_text),
            passages=passages_digest(row.citations),
            model=row.model_digest,
            snapshot=row.snapshot,
            policy=row.policy_digest,
            audit_id=id_,
            audit_hash=hash_,
            received_at=row.timestamp,
        )
    )


def check_receipt(
    receipt: Receipt,
    keys: Verifier,
    *,
    question: str | None = None,
    files: Sequence[TextFile] = (),
    answer: str | None = None,
) -> None:
    """``files``: those that came with the question, in their order.

    Raises ReceiptInvalid where none of the keys signed it, or where it is of another question or answer.
    """
    if not keys.knows(receipt.key):
        raise ReceiptInvalid(
            f"key: the receipt was signed with {receipt.key or 'no key'}, which is not among the public keys. "
            "Ask the site that gave it for its public key."
        )
    if not keys.verify(receipt.key, receipt.signed_bytes(), receipt.signature):
        raise ReceiptInvalid("signature: the receipt is not as it was signed. Something in it was changed.")
    if question is not None and message_digest(question, files) != receipt.question:
        with_files = " with these files" if files else ""
        raise ReceiptInvalid(
            f"question: this is not the question that the receipt is of{with_files}. Give it exactly as it was sent, "
            "with --file for each file that came with it, in their order."
        )
    if answer is not None and text_digest(answer) != receipt.answer:
        raise ReceiptInvalid("answer: this is not the answer that the receipt is of.")


def _id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def _read(path: Path, setting: str) -> list[Ed25519PrivateKey]:
    try:
        mode, text = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    except OSError as error:
        raise SettingsFault(
            f"{setting}: {path} cannot be read ({error.strerror}). Put the key there, for every worker the same.",
            field=setting,
        ) from None
    if mode & 0o077:
        raise SettingsFault(
            f"{setting}: {path} can be read by others than its owner. Run `chmod 600 {path}`.", field=setting
        )
    keys: list[Ed25519PrivateKey] = []
    for block in _BLOCK.findall(text):
        try:
            key = load_pem_private_key(block, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            keys = []
            break
        keys.append(key)
    if not keys:
        raise SettingsFault(
            f"{setting}: {path} must hold a private key (Ed25519, PEM). "
            f"`openssl genpkey -algorithm ed25519` makes one.",
            field=setting,
        )
    return keys
