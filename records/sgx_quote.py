"""An SGX quote as Intel's quoting enclave writes it: version 3, ECDSA over P-256, with the certificates in it.

All integers are little-endian. Bytes: a header (48) and the enclave's report (384), which the quote's signature covers;
the length of what follows (4); that signature (64) and the attestation key (64) it holds against; the quoting
enclave's own report (384) and the platform key's signature of it (64); data that the quoting enclave adds (2 + n);
the kind, length and bytes of the certification data (2 + 4 + n), of which kind 5 is a chain of certificates in PEM.
Parsing proves nothing: :mod:`records.sgx_attestation` does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from cryptography import x509

from dialogue.faults import AttestationRefused

__all__ = ["REPORT_DATA_BYTES", "EnclaveReport", "Quote", "parse_quote"]

REPORT_DATA_BYTES = 64
_HEADER_BYTES, _REPORT_BYTES = 48, 384
_VERSION, _ECDSA_P256, _PEM_CHAIN = 3, 2, 5
_REPORT = struct.Struct("<16s I 12x 16x Q 8x 32s 32x 32s 32x 64x H H 2x 42x 16x 64s")
_DEBUG = 0x2


@dataclass(frozen=True, slots=True)
class EnclaveReport:
    """What the processor says of an enclave. ``mrenclave``: the digest of what was loaded into it; ``mrsigner``: that
    of its signer's key; ``product``, ``version``: as its signer numbered it; ``report_data``: 64 bytes of its own."""

    cpu_svn: bytes
    misc_select: int
    flags: int
    mrenclave: bytes
    mrsigner: bytes
    product: int
    version: int
    report_data: bytes

    @property
    def debug(self) -> bool:
        """Whether the machine may read its memory."""
        return bool(self.flags & _DEBUG)


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote in its parts. Signatures are r and s, keys x and y, 32 bytes each, big-endian."""

    signed: bytes
    report: EnclaveReport
    signature: bytes
    attestation_key: bytes
    quoting_signed: bytes
    quoting_report: EnclaveReport
    quoting_signature: bytes
    quoting_data: bytes
    certificates: tuple[x509.Certificate, ...] = field(repr=False)
    """The platform's first."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, length: int, what: str) -> bytes:
        found = self._data[self._at : self._at + length]
        if len(found) < length:
            raise AttestationRefused(f"quote: ends within {what}. Send what /dev/attestation/quote gives, whole.")
        self._at += length
        return found

    def number(self, length: int, what: str) -> int:
        return int.from_bytes(self.take(length, what), "little")

    def rest(self) -> bytes:
        return self._data[self._at :]


def parse_quote(data: bytes) -> Quote:
    """Raises AttestationRefused for what is no such quote; zeros behind it are padding."""
    reader = _Reader(data)
    header = reader.take(_HEADER_BYTES, "its header")
    version, kind = struct.unpack_from("<HH", header)
    if version != _VERSION or kind != _ECDSA_P256:
        raise AttestationRefused(
            f"quote: is of version {version}, key type {kind}; only SGX quotes of version 3 with ECDSA over P-256 "
            'are read. Set sgx.remote_attestation = "dcap" in the manifest.'
        )
    body = reader.take(_REPORT_BYTES, "its report")
    inner = _Reader(reader.take(reader.number(4, "a length"), "its signature"))
    if reader.rest().strip(b"\0"):
        raise AttestationRefused("quote: there is more behind its end. Send what /dev/attestation/quote gives.")
    signature, key = inner.take(64, "its signature"), inner.take(64, "its key")
    quoting = inner.take(_REPORT_BYTES, "the quoting enclave's report")
    quoting_signature = inner.take(64, "the quoting enclave's signature")
    quoting_data = inner.take(inner.number(2, "a length"), "the quoting enclave's data")
    certification = inner.number(2, "the kind of its certificates")
    if certification != _PEM_CHAIN:
        raise AttestationRefused(
            f"quote: holds certification data of kind {certification} and no certificates (kind 5). Let the machine's "
            "provisioning service (PCCS) know its certificates."
        )
    chain = inner.take(inner.number(4, "a length"), "its certificates")
    if inner.rest():
        raise AttestationRefused(
            "quote: there is more behind its certificates. Send what /dev/attestation/quote gives."
        )
    return Quote(
        header + body, _report(body), signature, key, quoting, _report(quoting), quoting_signature, quoting_data,
        _certificates(chain),
    )  # fmt: skip


def _report(body: bytes) -> EnclaveReport:
    return EnclaveReport(*_REPORT.unpack(body))


def _certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    try:
        return tuple(x509.load_pem_x509_certificates(pem.rstrip(b"\0")))  # at least one
    except (ValueError, x509.InvalidVersion):
        raise AttestationRefused("quote: its certificates cannot be read (PEM).") from None
