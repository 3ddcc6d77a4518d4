"""``parley keys serve``, ``identity`` and ``quote``: tenants' keys for SGX enclaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.options import Json

__all__ = ["identity", "quote", "serve"]


async def serve() -> None:
    """Serve the key service: the tenants' keys, for SGX enclaves that prove to be among key_service.enclaves."""
    from gateway.key_serve import serve_keys
    from settings.load import load
    from settings.logs import configure_logs

    settings = load()
    configure_logs(settings.log, process="key-service")
    await serve_keys(settings)


def identity(*, json: Json = False) -> None:
    """Print the key service's public key, for encryption.attested.service_key of the enclaves that ask it."""
    import base64

    from cli.console import print_json, print_line
    from records.key_release import open_identity
    from settings.load import load

    key = base64.b64encode(open_identity(load()).public_bytes()).decode()
    if json:
        print_json({"service_key": key})
    else:
        print_line(key)


def quote(file: Annotated[Path, Parameter(name="FILE")], /, *, json: Json = False) -> None:
    """Show what an SGX quote says of its enclave and machine, and whether it holds; exit 1 where it does not.

    Parameters
    ----------
    file
        The quote, as /dev/attestation/quote gives it.
    """
    from cli.console import print_json, print_line
    from dialogue.faults import AttestationRefused
    from records.key_release import open_quote_verifier
    from records.sgx_attestation import fingerprint
    from records.sgx_quote import parse_quote
    from settings.load import load

    verifier = open_quote_verifier(load())
    found = parse_quote(file.read_bytes())
    refused: AttestationRefused | None = None
    try:
        verifier.verify(found)
    except AttestationRefused as fault:
        refused = fault
    shown = {
        "holds": refused is None,
        "mrenclave": found.report.mrenclave.hex(),
        "mrsigner": found.report.mrsigner.hex(),
        "product": found.report.product,
        "version": found.report.version,
        "debug": found.report.debug,
        "platform": fingerprint(found.certificates[0]),
    }
    if json:
        print_json(shown)
    else:
        for name, value in shown.items():
            print_line(f"{name:<10} {str(value).lower()}")
    if refused is not None:
        raise refused
