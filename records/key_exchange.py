"""What an enclave and the key service say to each other.

The enclave asks for a challenge, makes a key pair for this one request and has the processor quote a digest of both, of
the service's identity and of the tenant. So a quote is of no use with another key pair, to another service, for another
tenant or at another time. The service seals the tenant's keys for that key pair (HPKE, RFC 9180) and signs the answer
(Ed25519): a machine that stands in between reads nothing, and can put no keys of its own in their place.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from records.seal import KEY_BYTES, place

__all__ = ["PUBLIC_KEY_BYTES", "SUITE", "Challenge", "KeyAnswer", "KeyRequest", "TenantKey", "TenantKeys"]

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
PUBLIC_KEY_BYTES = 32
_MOST_QUOTE = 64 * 1024
_MOST_NONCE = 256


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Challenge(_Message):
    """``nonce``: to be sent back within a minute."""

    nonce: Base64Bytes


class KeyRequest(_Message):
    """For the keys of ``tenant``; ``public_key``: X25519, to seal them for; ``quote``: over :meth:`report_data`."""

    tenant: Annotated[str, Field(max_length=128)]
    nonce: Annotated[Base64Bytes, Field(max_length=_MOST_NONCE)]
    public_key: Annotated[Base64Bytes, Field(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
    quote: Annotated[Base64Bytes, Field(max_length=_MOST_QUOTE)]

    def report_data(self, service: bytes) -> bytes:
        """The 64 bytes that the quote must hold; ``service``: the public key of the one that is asked."""
        return report_data(service, self.tenant, self.nonce, self.public_key)


def report_data(service: bytes, tenant: str, nonce: bytes, public_key: bytes) -> bytes:
    """SHA-512 over all that a request is bound to."""
    return hashlib.sha512(place("parley key request", tenant, nonce.hex(), public_key.hex(), service.hex())).digest()


class TenantKey(_Message):
    """One of a tenant's keys."""

    id: str
    key: Annotated[Base64Bytes, Field(min_length=KEY_BYTES, max_length=KEY_BYTES, repr=False)]


class TenantKeys(_Message):
    """What is sealed: the newest first."""

    keys: Annotated[tuple[TenantKey, ...], Field(min_length=1)]


class KeyAnswer(_Message):
    """``sealed``: :class:`TenantKeys` as JSON, for the request's key; ``signature``: over :meth:`signed_bytes`."""

    sealed: Base64Bytes
    signature: Base64Bytes

    @staticmethod
    def signed_bytes(bound: bytes, sealed: bytes) -> bytes:
        """``bound``: the report data of the request that is answered."""
        return place("parley key answer", bound.hex(), sealed.hex())
