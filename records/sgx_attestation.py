"""Whether a quote proves which enclave made it: from Intel's root certificate down to the 64 bytes it chose.

The chain: root certificate -> authority -> platform (PCK) certificate, whose key signs the quoting enclave's report;
that report holds the digest of the attestation key; that key signs header and report of the enclave itself. The
quoting enclave must be Intel's own, else any enclave that the platform certified could vouch for any other.

A platform's certificate is of one machine at one patch level (Intel gives it another after a microcode update), so that
naming the certificates of the site's machines names both. Not checked: Intel's own list of which level is good (TCB
info), and revocation where no list is configured. docs/sgx.md says what follows from that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from dialogue.faults import AttestationRefused
from records.sgx_quote import EnclaveReport, Quote

__all__ = ["INTEL_QUOTING_ENCLAVE", "QuoteVerifier", "fingerprint"]

INTEL_QUOTING_ENCLAVE = bytes.fromhex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff")
"""MRSIGNER of Intel's quoting enclave, as Intel publishes it (QE identity); its ISV_PROD_ID is 1."""
_QUOTING_PRODUCT = 1
_ROOT_TO_PLATFORM = 3
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


class QuoteVerifier:
    """Holds quotes against one root certificate, and against revocation lists where there are any.

    ``platforms``: fingerprints, as :func:`fingerprint` gives them, of those that are taken; none: all of Intel's.
    """

    def __init__(
        self,
        root: x509.Certificate,
        lists: Sequence[x509.CertificateRevocationList] = (),
        platforms: Collection[str] = (),
    ) -> None:
        self._root = root
        self._lists = tuple(lists)
        self._platforms = frozenset(platforms)

    def verify(self, quote: Quote, at: datetime | None = None) -> EnclaveReport:
        """The report that is proven; ``at``: aware, now where it is not given. Raises AttestationRefused."""
        try:
            platform_key = self._platform_key(quote.certificates, at or datetime.now(UTC))
        except _UNREADABLE:  # a certificate's fields are read when they are asked for
            raise _refused("its certificates cannot be read") from None
        _require(
            _signed(platform_key, quote.quoting_signature, quote.quoting_signed),
            "the quoting enclave's report is not signed by the platform's key",
        )
        report = quote.quoting_report
        _require(
            report.mrsigner == INTEL_QUOTING_ENCLAVE and report.product == _QUOTING_PRODUCT and not report.debug,
            "it was not made by Intel's quoting enclave",
        )
        bound = hashlib.sha256(quote.attestation_key + quote.quoting_data).digest()
        _require(
            report.report_data == bound.ljust(64, b"\0"),
            "the quoting enclave's report is of another attestation key",
        )
        _require(_signed(_key(quote.attestation_key), quote.signature, quote.signed), "its signature does not hold")
        return quote.report

    def _platform_key(self, chain: Sequence[x509.Certificate], at: datetime) -> ec.EllipticCurvePublicKey:
        _require(len(chain) == _ROOT_TO_PLATFORM, f"it holds {len(chain)} certificates and not 3")
        _require(chain[-1] == self._root, "its root certificate is not key_service.root_certificate")
        for certificate, issuer in zip(chain, (*chain[1:], self._root), strict=True):
            _require_issued(certificate, issuer, at)
        for certificate, issuer in pairwise(chain):
            self._require_unrevoked(certificate, issuer, at)
        _require(
            not self._platforms or fingerprint(chain[0]) in self._platforms,
            f"its platform {fingerprint(chain[0])} is none of key_service.platforms",
        )
        key = chain[0].public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise _refused("the platform's certificate holds no elliptic curve key")
        return key

    def _require_unrevoked(self, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> None:
        if not self._lists:
            return
        name = _name(certificate)
        covering = [each for each in self._lists if _covers(each, issuer, at)]
        _require(bool(covering), f"no list of key_service.revocation_lists that holds today covers {name}")
        for each in covering:
            _require(
                each.get_revoked_certificate_by_serial_number(certificate.serial_number) is None, f"{name} is revoked"
            )


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate, 64 hexadecimal digits."""
    return certificate.fingerprint(SHA256()).hex()


def _require_issued(certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> None:
    name = _name(certificate)
    _require(certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc, f"{name} does not hold today")
    try:
        certificate.verify_directly_issued_by(issuer)
        authority = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, x509.ExtensionNotFound, *_UNREADABLE):
        authority = False
    _require(authority, f"{name} was not issued by the certificate above it")


def _covers(each: x509.CertificateRevocationList, issuer: x509.Certificate, at: datetime) -> bool:
    key, until = issuer.public_key(), each.next_update_utc
    return (
        each.issuer == issuer.subject
        and isinstance(key, ec.EllipticCurvePublicKey)
        and each.is_signature_valid(key)
        and until is not None
        and each.last_update_utc <= at <= until
    )


def _signed(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _key(point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    except ValueError:
        raise _refused("its attestation key is no point of P-256") from None


def _name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return f"the certificate {str(found[0].value)[:60]!r}" if found else "a certificate without a name"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _refused(otherwise)


def _refused(why: str) -> AttestationRefused:
    return AttestationRefused(f"quote: {why}. No keys are given to it.")
