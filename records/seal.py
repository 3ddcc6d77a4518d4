"""A sealed text: AES-256-GCM under a data key, bound to the place it stands in.

A seal is one byte that tells its form, 12 random bytes (the nonce), the ciphertext and 16 bytes of authentication. The
place (a row and its column, a workflow) is authenticated with it and not stored: a ciphertext that was moved to
another place does not open there. With random nonces one key is good for some 2^32 seals; a data key is one user's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dialogue.faults import SealBroken

__all__ = ["KEY_BYTES", "OVERHEAD_BYTES", "DataKey", "new_key", "place", "seal", "unseal"]

KEY_BYTES = 32
_FORM = b"\x01"
_NONCE_BYTES = 12
OVERHEAD_BYTES = len(_FORM) + _NONCE_BYTES + 16
"""By so much a seal is longer than its text."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key as a process holds it. ``id`` may be told to anybody; the key itself is in no message and no repr."""

    id: str
    key: bytes = field(repr=False)
    cipher: AESGCM = field(init=False, repr=False, compare=False)
    """Made once: OpenSSL takes as long to learn a key as to seal a short text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cipher", AESGCM(self.key))  # it is frozen


def new_key() -> bytes:
    """32 random bytes."""
    return os.urandom(KEY_BYTES)


def place(kind: str, *parts: object) -> bytes:
    """What a text is bound to; different parts never give the same."""
    return b"\0".join(str(part).encode("utf-8", "surrogatepass").replace(b"\0", b"\0\xff") for part in (kind, *parts))


def seal(key: DataKey, text: bytes, where: bytes) -> bytes:
    """``where``: from :func:`place`; the same is needed to open it."""
    nonce = os.urandom(_NONCE_BYTES)
    return _FORM + nonce + key.cipher.encrypt(nonce, text, where)


def unseal(key: DataKey, sealed: bytes, where: bytes) -> bytes:
    """Raises SealBroken for what was changed, cut, moved, or sealed under another key."""
    if sealed[:1] == _FORM and len(sealed) >= OVERHEAD_BYTES:
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return key.cipher.decrypt(nonce, rest, where)
        except InvalidTag:
            pass
    raise SealBroken(
        f"key {key.id}: a ciphertext does not open under it: it was changed, cut or moved to another place. "
        "Put back what was written there."
    )
