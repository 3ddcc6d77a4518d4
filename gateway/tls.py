"""The gateway's certificate and key, checked before the server takes them: its own words name no setting."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from dialogue.faults import SettingsFault
from records.private_file import replace_private
from settings.schema import GatewayTlsSettings

__all__ = ["tls_options"]

_TRUSTED = b" TRUSTED CERTIFICATE-----"


def tls_options(tls: GatewayTlsSettings | None) -> dict[str, Any]:
    """What granian's server takes. It speaks TLS 1.3 and nothing older, and HTTP/2 where the client offers it.

    Raises SettingsFault, naming the setting, for a file that cannot be used.
    """
    if tls is None:
        return {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in ("cert", "key", "client_ca"):
        if path := getattr(tls, name):
            _check_readable(name, path)
    _load(context, tls)
    options: dict[str, Any] = {"ssl_cert": _plain(tls.cert), "ssl_key": tls.key}
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError:
            raise _fault("client_ca", f"{tls.client_ca} holds no certificate in PEM. Name the authority's.") from None
        options |= {"ssl_ca": tls.client_ca, "ssl_client_verify": True}
    return options


def _check_readable(name: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise _fault(name, f"{path} cannot be read ({error.strerror}). Correct the path or its rights.") from None


def _load(context: ssl.SSLContext, tls: GatewayTlsSettings) -> None:
    def no_password() -> str:
        raise _fault("key", f"{tls.key} has a password. Take it off: openssl pkcs8 -topk8 -nocrypt -in old -out new.")

    try:
        context.load_cert_chain(tls.cert, tls.key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _fault("key", f"{tls.key} is not the key of {tls.cert}. Name the one it was made with.") from None
        if not _holds_certificate(tls.cert):
            raise _fault("cert", f"{tls.cert} holds no certificate in PEM. Name the server's.") from None
        raise _fault("key", f"{tls.key} holds no private key in PEM. Name that of gateway.tls.cert.") from None


def _plain(cert: Path) -> Path:
    """The server ends the process over a TRUSTED CERTIFICATE, OpenSSL's form that gramine-ratls writes: it is written
    anew beside it, in the plain form."""
    text = cert.read_bytes()
    if _TRUSTED not in text:
        return cert
    plain = cert.with_name(f"{cert.name}.plain")
    try:
        replace_private(plain, text.replace(_TRUSTED, b" CERTIFICATE-----"))
    except OSError as error:
        raise _fault(
            "cert",
            f"{cert} is a TRUSTED CERTIFICATE, and {plain} cannot be written ({error.strerror}). Use: openssl x509.",
        ) from None
    return plain


def _holds_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _fault(name: str, message: str) -> SettingsFault:
    return SettingsFault(f"gateway.tls.{name}: {message}", field=f"gateway.tls.{name}")
