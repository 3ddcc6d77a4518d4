"""``parley tls dev`` makes what the gateway takes, for its own eyes where it is secret."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from cli.main import run
from gateway.tls import tls_options
from settings.schema import GatewayTlsSettings


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "temporal.yaml").write_text("gateway: {port: 8443}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(tmp_path / "temporal.yaml"))
    return tmp_path / "var" / "tls"


def test_it_says_what_to_write_and_whom_to_trust(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines for temporal.yaml, and a call that works with them; the gateway takes both files."""
    assert run(["tls", "dev", "--host", "gateway.internal", "--host", "192.0.2.1"]) == 0
    told = capsys.readouterr().out
    assert f"gateway:\n  tls:\n    cert: {made / 'cert.pem'}\n    key: {made / 'key.pem'}\n" in told
    assert f"curl --cacert {made / 'ca.pem'} https://localhost:8443/healthz" in told
    assert tls_options(GatewayTlsSettings(cert=made / "cert.pem", key=made / "key.pem"))
    assert (made / "key.pem").read_text().startswith("-----BEGIN PRIVATE KEY-----")
    names = x509.load_pem_x509_certificate((made / "cert.pem").read_bytes()).extensions
    shown = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(shown.get_values_for_type(x509.DNSName)) == {"localhost", "gateway.internal"}
    assert {str(one) for one in shown.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1", "192.0.2.1"}


def test_keys_are_for_their_owner_alone(made: Path) -> None:
    """Also after it was run twice; the new certificate is of the new authority."""
    assert [run(["tls", "dev"]) for _ in range(2)] == [0, 0]
    assert made.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()}
    assert modes == {"ca.pem": 0o644, "cert.pem": 0o644, "ca-key.pem": 0o600, "key.pem": 0o600}
    ssl.create_default_context(cafile=made / "ca.pem")
