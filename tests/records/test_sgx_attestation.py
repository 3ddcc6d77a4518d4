"""SGX quotes: what is proven, and that nothing else is.

There is no SGX here. The quotes are the tests' own (``tests/support/sgx_platform.py``), laid out as Intel's and signed
by an authority of theirs; everything from the first byte to the decision is the real code.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from dialogue.faults import AttestationRefused
from records.sgx_attestation import QuoteVerifier, fingerprint
from records.sgx_quote import parse_quote
from tests.support.sgx_platform import Body, SgxPlatform, flags

PLATFORM = SgxPlatform()
QUOTE = PLATFORM.quote(Body(report_data=bytes(range(64))))
VERIFIER = QuoteVerifier(PLATFORM.root)


def test_a_quote_says_which_enclave_made_it() -> None:
    """Measurements, numbers and the 64 bytes that the enclave chose."""
    report = VERIFIER.verify(parse_quote(QUOTE))
    assert (report.mrenclave, report.mrsigner) == (b"\xe1" * 32, b"\x51" * 32)
    assert (report.product, report.version, report.debug) == (1, 3, False)
    assert report.report_data == bytes(range(64))


def test_zeros_behind_a_quote_are_padding() -> None:
    """Buffers are longer than what is in them; anything else there is not taken."""
    assert VERIFIER.verify(parse_quote(QUOTE + bytes(100)))
    with pytest.raises(AttestationRefused, match="more behind its end"):
        parse_quote(QUOTE + b"\0x")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")  # a serial number below zero
@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(QUOTE) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(place: int, mask: int) -> None:
    """It is refused; alone the white space between two certificates may differ."""
    changed = bytearray(QUOTE)
    changed[place] ^= mask
    try:
        quote = parse_quote(bytes(changed))
        VERIFIER.verify(quote)
    except AttestationRefused:
        return
    assert quote == parse_quote(QUOTE)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(QUOTE) - 1))
def test_a_cut_quote_is_refused(length: int) -> None:
    """Wherever it ends."""
    with pytest.raises(AttestationRefused):
        VERIFIER.verify(parse_quote(QUOTE[:length]))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_refused(noise: bytes) -> None:
    """In one line, whatever it is."""
    with pytest.raises(AttestationRefused, match=r"^quote: [^\n]+$"):
        parse_quote(noise)


def other(change: Callable[[SgxPlatform], None], body: Body | None = None) -> bytes:
    """A quote of the same authority's, made after that change."""
    made = SgxPlatform(root_key=PLATFORM.root_key, ca_key=PLATFORM.ca_key)
    made.root = PLATFORM.root
    change(made)
    return made.quote(body)


def _foreign_quoting_enclave(made: SgxPlatform) -> None:
    made.quoting = Body(mrsigner=b"\x77" * 32)


def _debug_quoting_enclave(made: SgxPlatform) -> None:
    made.quoting = Body(mrsigner=made.quoting.mrsigner, flags=flags["init"] | flags["debug"])


def _other_quoting_product(made: SgxPlatform) -> None:
    made.quoting = Body(mrsigner=made.quoting.mrsigner, product=2)


def _foreign_root(made: SgxPlatform) -> None:
    made.root = SgxPlatform().root


def _self_made_platform(made: SgxPlatform) -> None:
    made.pck = SgxPlatform(pck_key=made.pck_key).pck  # of another authority with the same name


def _platform_as_authority(made: SgxPlatform) -> None:
    """A platform's own certificate issues another: it is no authority."""
    made.ca = made.pck = SgxPlatform(ca_key=made.pck_key, pck_key=made.pck_key, root_key=made.root_key).pck


def _expired(made: SgxPlatform) -> None:
    made.pck = SgxPlatform(
        now=made.now - timedelta(days=500), ca_key=made.ca_key, pck_key=made.pck_key, root_key=made.root_key
    ).pck


def _no_certificates(made: SgxPlatform) -> None:
    made.certification_kind = 1  # the platform's identifiers instead


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_foreign_quoting_enclave, "not made by Intel's quoting enclave"),
        (_debug_quoting_enclave, "not made by Intel's quoting enclave"),
        (_other_quoting_product, "not made by Intel's quoting enclave"),
        (_foreign_root, "its root certificate is not key_service.root_certificate"),
        (_self_made_platform, "'PCK Certificate' was not issued by the certificate above it"),
        (_platform_as_authority, "was not issued by the certificate above it"),
        (_expired, "'PCK Certificate' does not hold today"),
        (_no_certificates, "certification data of kind 1"),
    ],
    ids=lambda each: each.__name__.strip("_") if callable(each) else "",
)
def test_what_is_validly_signed_by_the_wrong_one_is_refused(change: Callable[[SgxPlatform], None], why: str) -> None:
    """Each link of the chain is held against the one above it, and the quoting enclave must be Intel's."""
    with pytest.raises(AttestationRefused, match=why):
        VERIFIER.verify(parse_quote(other(change)))


def test_parts_of_two_good_quotes_make_no_good_one() -> None:
    """Another enclave's report under this quote's signatures, another machine's attestation key."""
    second = other(lambda _: None, Body(mrenclave=b"\xbb" * 32))
    assert VERIFIER.verify(parse_quote(second)).mrenclave == b"\xbb" * 32
    report, length, signature, key, quoting = 0, 432, 436, 500, 564
    end = quoting + 384
    for parts, why in (
        ([(report, length)], "its signature does not hold"),
        ([(report, length), (signature, quoting)], "of another attestation key"),
        ([(key, quoting)], "of another attestation key"),
        ([(report, length), (signature, end)], "not signed by the platform's key"),
    ):
        mixed = bytearray(QUOTE)
        for start, stop in parts:
            mixed[start:stop] = second[start:stop]
        with pytest.raises(AttestationRefused, match=why):
            VERIFIER.verify(parse_quote(bytes(mixed)))


def test_a_tdx_quote_is_told_from_an_sgx_quote() -> None:
    """Its version is 4: the line says what to do."""
    with pytest.raises(AttestationRefused, match="of version 4, key type 2; only SGX quotes of version 3"):
        parse_quote(b"\4" + QUOTE[1:])


def test_revoked_certificates_are_refused() -> None:
    """Where lists are named, each certificate needs one that holds today; another's signature makes none."""
    of_root, of_ca = PLATFORM.revocations(of_root=True), PLATFORM.revocations()
    quote = parse_quote(QUOTE)
    assert QuoteVerifier(PLATFORM.root, [of_root, of_ca]).verify(quote)
    stranger = SgxPlatform()
    for lists, why in (
        ([of_root], "covers the certificate 'PCK Certificate'"),
        ([of_ca], "covers the certificate 'PCK Platform CA'"),
        ([of_root, PLATFORM.revocations(days=-1)], "covers the certificate 'PCK Certificate'"),
        ([of_root, stranger.revocations()], "covers the certificate 'PCK Certificate'"),
        ([of_root, PLATFORM.revocations(PLATFORM.pck.serial_number)], "'PCK Certificate' is revoked"),
        ([PLATFORM.revocations(PLATFORM.ca.serial_number, of_root=True), of_ca], "'PCK Platform CA' is revoked"),
    ):
        with pytest.raises(AttestationRefused, match=why):
            QuoteVerifier(PLATFORM.root, lists).verify(quote)


def test_only_the_sites_own_machines_are_taken_where_they_are_named() -> None:
    """By the fingerprint of their certificate: another machine of the same authority is refused."""
    named = QuoteVerifier(PLATFORM.root, platforms=[fingerprint(PLATFORM.pck)])
    assert named.verify(parse_quote(QUOTE))
    with pytest.raises(AttestationRefused, match=r"its platform [0-9a-f]{64} is none of key_service\.platforms"):
        named.verify(parse_quote(other(lambda _: None)))


@pytest.mark.skipif("PARLEY_SGX_QUOTE" not in os.environ, reason="a real quote is given by hand")
@pytest.mark.full
def test_a_quote_of_real_hardware_holds() -> None:
    """``PARLEY_SGX_QUOTE``: its file; ``PARLEY_SGX_ROOT``: Intel's root (DER). Held at a day on which it was good."""
    root = x509.load_der_x509_certificate(Path(os.environ["PARLEY_SGX_ROOT"]).read_bytes())
    quote = parse_quote(Path(os.environ["PARLEY_SGX_QUOTE"]).read_bytes())
    at = quote.certificates[0].not_valid_before_utc + timedelta(days=1)
    assert QuoteVerifier(root).verify(quote, at) == quote.report
    with pytest.raises(AttestationRefused, match="does not hold today"):
        QuoteVerifier(root).verify(quote, datetime(2200, 1, 1, tzinfo=UTC))
