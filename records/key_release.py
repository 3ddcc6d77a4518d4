"""The key service's decision: tenants' keys for the enclaves that the site has named, as they prove it.

It needs keys that may be handed out (``local``, ``environment``): a key service of a cloud keeps its own.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from dialogue.faults import AttestationRefused, InvalidRequest, SettingsFault
from records.key_exchange import SUITE, Challenge, KeyAnswer, KeyRequest, TenantKey, TenantKeys
from records.sgx_attestation import QuoteVerifier
from records.sgx_quote import EnclaveReport, parse_quote
from records.signing import Signer
from records.tenant_keys import SiteKeys, open_key_provider
from settings.layout import Layout
from settings.schema import EnclaveSettings, Settings

__all__ = ["CHALLENGE_SECONDS", "KeyRelease", "open_identity", "open_quote_verifier"]

CHALLENGE_SECONDS = 60.0
_TIME_BYTES, _RANDOM_BYTES = 8, 16
_Read = TypeVar("_Read")

log: structlog.stdlib.BoundLogger = structlog.get_logger("keys")


class KeyRelease:
    """Of one process; challenges are its own and end with it."""

    def __init__(
        self, keys: SiteKeys, verifier: QuoteVerifier, enclaves: Mapping[str, EnclaveSettings], identity: Signer
    ) -> None:
        self._keys, self._verifier, self._enclaves, self._identity = keys, verifier, dict(enclaves), identity
        self._secret = os.urandom(32)

    @classmethod
    def open(cls, settings: Settings) -> KeyRelease:
        """As the settings say. Raises SettingsFault where they name no enclave, no root or no keys to hand out."""
        if not settings.key_service.enclaves:
            raise SettingsFault(
                "key_service.enclaves: names no enclave, so nobody could be given a key. Name one by its mrenclave.",
                field="key_service.enclaves",
            )
        keys = open_key_provider(settings)
        if not isinstance(keys, SiteKeys):
            raise SettingsFault(
                f"encryption.provider: is {settings.encryption.provider}, which has no keys to hand out. Where "
                "`parley keys serve` runs it must be local or environment.",
                field="encryption.provider",
            )
        return cls(keys, open_quote_verifier(settings), settings.key_service.enclaves, open_identity(settings))

    def challenge(self) -> Challenge:
        """Nothing is remembered of it: it proves itself that it was made here and when."""
        stamp = int(time.time() * 1000).to_bytes(_TIME_BYTES, "big") + os.urandom(_RANDOM_BYTES)
        return Challenge(nonce=base64.b64encode(stamp + self._mark(stamp)))

    async def release(self, request: KeyRequest) -> KeyAnswer:
        """Raises AttestationRefused, InvalidRequest, and SettingsFault where the keys cannot be read."""
        try:
            return await asyncio.to_thread(self._release, request)
        except AttestationRefused as fault:
            log.warning("keys refused", tenant=request.tenant, why=fault.message)
            raise

    def _release(self, request: KeyRequest) -> KeyAnswer:
        self._require_fresh(request.nonce)
        quote = parse_quote(request.quote)
        report = self._verifier.verify(quote)
        bound = request.report_data(self._identity.public_bytes())
        if not hmac.compare_digest(report.report_data, bound):
            raise AttestationRefused("quote: is of another request: its report data is not this one's digest.")
        name = self._enclave_of(report)
        found = TenantKeys(
            keys=tuple(
                TenantKey(id=each.id, key=base64.b64encode(each.key)) for each in self._keys.of_tenant(request.tenant)
            )
        )
        try:
            public = X25519PublicKey.from_public_bytes(request.public_key)
            sealed = SUITE.encrypt(found.model_dump_json().encode(), public, info=bound)
        except ValueError:  # a point with which every agreement comes out the same
            raise InvalidRequest("public_key: is no X25519 key to seal for.", field="public_key") from None
        signature = self._identity.sign(KeyAnswer.signed_bytes(bound, sealed))
        log.info("keys released", enclave=name, tenant=request.tenant, mrenclave=report.mrenclave.hex())
        return KeyAnswer(sealed=base64.b64encode(sealed), signature=signature.encode())

    def _enclave_of(self, report: EnclaveReport) -> str:
        """The name of the one that it is."""
        if report.debug:
            raise AttestationRefused(
                "quote: is of a debug enclave, whose memory the machine may read. Sign it without sgx.debug."
            )
        for name, known in self._enclaves.items():
            if _is(report, known):
                return name
        raise AttestationRefused(
            f"quote: is of an enclave that key_service.enclaves does not name: mrenclave {report.mrenclave.hex()}, "
            f"mrsigner {report.mrsigner.hex()}, product {report.product}, version {report.version}."
        )

    def _mark(self, stamp: bytes) -> bytes:
        return hmac.digest(self._secret, stamp, "sha256")

    def _require_fresh(self, nonce: bytes) -> None:
        stamp, mark = nonce[: _TIME_BYTES + _RANDOM_BYTES], nonce[_TIME_BYTES + _RANDOM_BYTES :]
        made = int.from_bytes(stamp[:_TIME_BYTES], "big") / 1000
        if not hmac.compare_digest(self._mark(stamp), mark) or not 0 <= time.time() - made <= CHALLENGE_SECONDS:
            raise AttestationRefused(
                f"nonce: is none that this service gave in the last {CHALLENGE_SECONDS:g} s. Ask for another challenge."
            )


def open_identity(settings: Settings) -> Signer:
    """The key that signs what is handed out; made where the settings name no file. Raises SettingsFault."""
    given = settings.key_service.identity_key
    path = settings.resolve(given) if given else Layout.of(settings).service_identity
    return Signer.at(path, "key_service.identity_key", make=given is None)


def open_quote_verifier(settings: Settings) -> QuoteVerifier:
    """Raises SettingsFault for what is missing and for what is no certificate or list."""
    given = settings.key_service
    if given.root_certificate is None:
        raise SettingsFault(
            "key_service.root_certificate: is not given. Name the file of Intel's SGX root certificate (PEM).",
            field="key_service.root_certificate",
        )
    root = _read(settings, given.root_certificate, "root_certificate", x509.load_pem_x509_certificate)
    lists = [_read(settings, path, "revocation_lists", _load_list) for path in given.revocation_lists]
    return QuoteVerifier(root, lists, given.platforms)


def _read(settings: Settings, path: Path, name: str, load: Callable[[bytes], _Read]) -> _Read:
    at = settings.resolve(path)
    try:
        return load(at.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is none"
        raise SettingsFault(
            f"key_service.{name}: {at} cannot be read ({why}). Fetch it from Intel's provisioning service again.",
            field=f"key_service.{name}",
        ) from None


def _load_list(data: bytes) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(data) if data.startswith(b"-----") else x509.load_der_x509_crl(data)


def _is(report: EnclaveReport, known: EnclaveSettings) -> bool:
    return (
        known.mrenclave in (None, report.mrenclave.hex())
        and known.mrsigner in (None, report.mrsigner.hex())
        and known.product in (None, report.product)
        and report.version >= known.least_version
    )
