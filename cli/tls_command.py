"""``parley tls``: certificates for trying things out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

__all__ = ["app"]

DAYS = 397
"""Browsers take no certificate that is valid for longer."""
_HERE = ("localhost", "127.0.0.1", "::1")

app = cyclopts.App(name="tls", help="Certificates for this machine.")


@app.command
def dev(
    *, host: Annotated[list[str] | None, Parameter(help="A name or address that clients use; may be repeated.")] = None
) -> None:
    """Make an authority of your own and a certificate for the gateway, and say how to use them.

    They lie in tls below data; keys are readable by you alone. What was there before is replaced.
    """
    from cli.console import print_line
    from settings.layout import Layout
    from settings.load import load

    settings = load()
    folder = Layout.of(settings).tls
    names = list(dict.fromkeys((*_HERE, *(host or ()))))
    _make(folder, names)
    ca, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    print_line(f"made {ca}, {cert} and {key}, for {', '.join(names)}")
    print_line("\nIn temporal.yaml:\n")
    print_line(f"gateway:\n  tls:\n    cert: {cert}\n    key: {key}")
    print_line("\nClients trust the authority, for example:\n")
    port = settings.gateway.port or "PORT"
    print_line(f"curl --cacert {ca} https://localhost:{port}/healthz")
    print_line(f"export SSL_CERT_FILE={ca}   # Python, Node: NODE_EXTRA_CA_CERTS")


def _make(folder: Path, names: list[str]) -> None:
    from datetime import UTC, datetime, timedelta

    import trustme
    from cryptography.hazmat.primitives import serialization as pem

    ca = trustme.CA(organization_name="Parley development")
    issued = ca.issue_cert(*names, not_after=datetime.now(UTC) + timedelta(days=DAYS))
    key = pem.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / "ca.pem", ca.cert_pem.bytes(), 0o644)
    _write(folder / "ca-key.pem", ca.private_key_pem.bytes(), 0o600)
    _write(folder / "cert.pem", b"".join(part.bytes() for part in issued.cert_chain_pems), 0o644)
    pkcs8 = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    _write(folder / "key.pem", pkcs8, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Never readable by others, not even while it is written; nobody sees half of it."""
    written = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    written.replace(path)
