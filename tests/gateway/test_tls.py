"""The gateway over TLS: 1.3 alone, HTTP/1.1 and HTTP/2, with and without certificates of clients."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from dialogue.faults import SettingsFault
from gateway.tls import tls_options
from settings.schema import GatewayTlsSettings
from tests.gateway.test_serve import config as config
from tests.gateway.test_serve import running

Certificates = dict[str, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server's certificate and a client's; another authority's client, and a key of nothing."""
    folder = tmp_path_factory.mktemp("tls")
    ours, foreign = trustme.CA(), trustme.CA()
    server = ours.issue_cert("127.0.0.1", "localhost")
    ours.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in server.cert_chain_pems))
    server.private_key_pem.write_to_path(folder / "key.pem")
    ours.issue_cert("service").private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    foreign.issue_cert("service").private_key_and_cert_chain_pem.write_to_path(folder / "foreign.pem")
    foreign.issue_cert("other").private_key_pem.write_to_path(folder / "other-key.pem")
    (folder / "nothing.pem").write_text("nothing\n")
    locked = ["openssl", "pkcs8", "-topk8", "-passout", "pass:secret", "-in", folder / "key.pem"]
    subprocess.run([*locked, "-out", folder / "locked.pem"], check=True, capture_output=True)
    return {path.stem: path for path in folder.glob("*.pem")}


def test_a_trusted_certificate_is_written_anew(made: Certificates, tmp_path: Path) -> None:
    """gramine-ratls writes that form of OpenSSL's; the server would end the process over it."""
    cert = tmp_path / "tls.crt"
    cert.write_bytes(made["cert"].read_bytes().replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"))
    options = tls_options(GatewayTlsSettings(cert=cert, key=made["key"]))
    assert options["ssl_cert"] != cert
    assert options["ssl_cert"].read_bytes() == made["cert"].read_bytes()
    assert tls_options(GatewayTlsSettings(cert=made["cert"], key=made["key"]))["ssl_cert"] == made["cert"]


def with_tls(path: Path, tls: dict[str, Path]) -> Path:
    path.write_text(path.read_text().replace("gateway: {", f"gateway: {{tls: {json.dumps(tls, default=str)}, "))
    return path


@asynccontextmanager
async def gateway(path: Path, repository: Path, tls: dict[str, Path]) -> AsyncIterator[str]:
    """Its address."""
    async with running(with_tls(path, tls), repository) as (_, ready):
        assert ready["url"] == f"https://127.0.0.1:{ready['port']}"
        yield ready["url"]


def trusting(made: Certificates, client: str | None = None, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=made["ca"])
    if client:
        context.load_cert_chain(made[client])
    if newest:
        context.maximum_version = newest
    return context


async def asked(url: str, context: ssl.SSLContext, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(verify=context, **options) as client:
        return await client.get(f"{url}/healthz")


async def test_only_1_3_over_both_protocols(config: Callable[..., Path], repository: Path, made: Certificates) -> None:
    """1.2 is refused to Python and to OpenSSL's own client; HTTP/2 is spoken where it is offered."""
    async with gateway(config(), repository, {"cert": made["cert"], "key": made["key"]}) as url:
        first, second = [await asked(url, trusting(made), http2=both) for both in (False, True)]
        assert [(answer.status_code, answer.http_version) for answer in (first, second)] == [
            (200, "HTTP/1.1"),
            (200, "HTTP/2"),
        ]
        with pytest.raises(httpx.ConnectError, match=r"(?i)protocol.version"):
            await asked(url, trusting(made, newest=ssl.TLSVersion.TLSv1_2))
        for version, taken in (("-tls1_2", False), ("-tls1_3", True)):
            where = url.removeprefix("https://")
            spoken = subprocess.run(  # noqa: ASYNC221 - it is told nothing and ends at once
                ["openssl", "s_client", version, "-connect", where, "-CAfile", made["ca"], "-verify_return_error"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
                check=False,
            )
            assert (spoken.returncode == 0) is taken, spoken.stderr.decode()
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await asked(url, ssl.create_default_context())


async def test_clients_show_a_certificate(config: Callable[..., Path], repository: Path, made: Certificates) -> None:
    """Of the authority that was named; without one, or with another's, nobody is let in."""
    tls = {"cert": made["cert"], "key": made["key"], "client_ca": made["ca"]}
    async with gateway(config(), repository, tls) as url:
        for both in (False, True):
            assert (await asked(url, trusting(made, "client"), http2=both)).status_code == 200
            for stranger in (None, "foreign"):
                with pytest.raises((httpx.TransportError, ssl.SSLError)):
                    await asked(url, trusting(made, stranger), http2=both)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"cert": "gone"}, r"gateway\.tls\.cert: .* cannot be read \(No such file or directory\)"),
        ({"key": "gone"}, r"gateway\.tls\.key: .* cannot be read"),
        ({"client_ca": "gone"}, r"gateway\.tls\.client_ca: .* cannot be read"),
        ({"cert": "nothing"}, r"gateway\.tls\.cert: .* holds no certificate in PEM"),
        ({"cert": "key"}, r"gateway\.tls\.cert: .* holds no certificate in PEM"),
        ({"key": "nothing"}, r"gateway\.tls\.key: .* holds no private key in PEM"),
        ({"key": "other-key"}, r"gateway\.tls\.key: .* is not the key of .*cert\.pem"),
        ({"key": "locked"}, r"gateway\.tls\.key: .* has a password\. Take it off"),
        ({"client_ca": "nothing"}, r"gateway\.tls\.client_ca: .* holds no certificate in PEM"),
    ],
    ids=lambda value: "-".join(map("=".join, value.items())) if isinstance(value, dict) else "",
)
def test_a_file_that_cannot_be_used(made: Certificates, changed: dict[str, str], told: str) -> None:
    """One line names the setting, the file and the way out."""
    files = {
        name: made.get(stem, Path("/nowhere/gone.pem"))
        for name, stem in ({"cert": "cert", "key": "key"} | changed).items()
    }
    with pytest.raises(SettingsFault, match=told) as fault:
        tls_options(GatewayTlsSettings(**files))  # type: ignore[arg-type]
    assert "\n" not in fault.value.message
    assert fault.value.field == f"gateway.tls.{next(iter(changed))}"
