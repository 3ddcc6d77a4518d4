"""An SGX machine without SGX: an authority and quotes of the test's own, byte for byte as Intel lays them out.

It stands in for the hardware: the processor, the quoting enclave, Intel's authority. What it signs is signed as there.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from records.sgx_attestation import INTEL_QUOTING_ENCLAVE

__all__ = ["Body", "SgxPlatform", "device", "flags"]

flags = {"init": 0x1, "debug": 0x2, "mode64": 0x4}
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Body:
    """An enclave's report, to be laid out."""

    mrenclave: bytes = b"\xe1" * 32
    mrsigner: bytes = b"\x51" * 32
    product: int = 1
    version: int = 3
    flags: int = flags["init"] | flags["mode64"]
    report_data: bytes = bytes(64)

    def bytes(self) -> bytes:
        return b"".join(
            (
                bytes(range(16)), struct.pack("<I", 0), bytes(12), bytes(16),  # CPUSVN, MISCSELECT, -, ISVEXTPRODID
                struct.pack("<QQ", self.flags, 0xE7), self.mrenclave, bytes(32),  # ATTRIBUTES, MRENCLAVE, -
                self.mrsigner, bytes(32), bytes(64),  # MRSIGNER, -, CONFIGID
                struct.pack("<HHH", self.product, self.version, 0), bytes(42), bytes(16),  # ISVPRODID, ISVSVN, -
                self.report_data,
            )
        )  # fmt: skip


@dataclass
class SgxPlatform:
    """One machine. Its parts may be changed before a quote is made, to see whether that is noticed."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    quoting: Body = field(default_factory=lambda: Body(mrenclave=b"\x9e" * 32, mrsigner=INTEL_QUOTING_ENCLAVE))
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    pck_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    attestation_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    padding: bytes = b"\0"
    certification_kind: int = 5

    def __post_init__(self) -> None:
        self.root = _issued("SGX Root CA", self.root_key, "SGX Root CA", self.root_key, self.now, authority=True)
        self.ca = _issued("PCK Platform CA", self.ca_key, "SGX Root CA", self.root_key, self.now, authority=True)
        self.pck = _issued("PCK Certificate", self.pck_key, "PCK Platform CA", self.ca_key, self.now, authority=False)

    @property
    def chain(self) -> bytes:
        return b"".join(each.public_bytes(Encoding.PEM) for each in (self.pck, self.ca, self.root))

    def quote(self, body: Body | None = None) -> bytes:
        """As ``/dev/attestation/quote`` gives it."""
        header = struct.pack("<HHIHH", 3, 2, 0, 10, 15) + bytes.fromhex("939a7233f79c4ca9940a0db3957f0607") + bytes(20)
        signed = header + (body or Body()).bytes()
        attested = _point(self.attestation_key)
        added = bytes(range(32))
        bound = hashlib.sha256(attested + added).digest()
        quoting = replace(self.quoting, report_data=bound + bytes(32)).bytes()
        chain = self.chain + self.padding
        inner = b"".join(
            (
                _sign(self.attestation_key, signed), attested, quoting, _sign(self.pck_key, quoting),
                struct.pack("<H", len(added)), added,
                struct.pack("<HI", self.certification_kind, len(chain)), chain,
            )
        )  # fmt: skip
        return signed + struct.pack("<I", len(inner)) + inner

    def revocations(self, *serials: int, of_root: bool = False, days: int = 30) -> x509.CertificateRevocationList:
        """A list of the platform authority's, or of the root's."""
        name, key = ("SGX Root CA", self.root_key) if of_root else ("PCK Platform CA", self.ca_key)
        builder = x509.CertificateRevocationListBuilder(_name(name), self.now - 60 * _DAY, self.now + days * _DAY)
        for serial in serials:
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, self.now - _DAY).build())
        return builder.sign(key, SHA256())

    def write_root(self, folder: Path) -> Path:
        path = folder / "sgx-root-ca.pem"
        path.write_bytes(self.root.public_bytes(Encoding.PEM))
        return path


@contextmanager
def device(folder: Path, platform: SgxPlatform, body: Body | None = None) -> Iterator[Path]:
    """``/dev/attestation`` as Gramine has it in an enclave: what is written to ``user_report_data`` stands in the quote
    that is read next. Two pipes and a thread behind them."""
    (folder / "attestation_type").write_text("dcap")
    data, quote = folder / "user_report_data", folder / "quote"
    os.mkfifo(data)
    os.mkfifo(quote)
    stopping = threading.Event()

    def serve() -> None:
        while given := data.read_bytes():
            if stopping.is_set():
                return
            quote.write_bytes(platform.quote(replace(body or Body(), report_data=given)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield folder
    finally:
        stopping.set()
        data.write_bytes(b"end")
        thread.join()


def _issued(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, now: datetime,
    *, authority: bool,
) -> x509.Certificate:  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * _DAY)
        .not_valid_after(now + 365 * _DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(issuer_key, SHA256())
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
