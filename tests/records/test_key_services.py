"""Key services through their makers' clients.

Amazon's KMS is moto's, which answers boto3 as KMS does. Vault's transit engine and Google's KMS are small servers of
the tests' own, which speak their HTTP and gRPC API: none of the services itself was run.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dialogue.faults import KeyMissing, KeysUnavailable, SettingsFault
from records import key_services
from records.key_services import open_key_service
from records.tenant_keys import KeyProvider, Wrapped
from settings.schema import EncryptionSettings, TransitSettings
from tests.support.google_kms import RING, dial_google, google_kms

KEY = b"k" * 32


class Transit(BaseHTTPRequestHandler):
    """``/v1/transit/{encrypt,decrypt,keys}/NAME`` as Vault's documentation has them, with associated data."""

    keys: dict[str, list[bytes]] = {}  # noqa: RUF012 one server at a time

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        _, _, mount, what, name, *rest = self.path.split("/")
        if self.headers.get("X-Vault-Token") != "t0ken":
            return self._answer(403, {"errors": ["permission denied"]})
        versions = self.keys.get(name)
        if mount != "transit" or versions is None:
            return self._answer(404, {"errors": ["no such key"]})
        if rest == ["rotate"]:
            versions.append(os.urandom(32))
            return self._answer(200, {"data": {}})
        bound = base64.b64decode(body.get("associated_data", ""))
        if what == "encrypt":
            nonce = os.urandom(12)
            text = AESGCM(versions[-1]).encrypt(nonce, base64.b64decode(body["plaintext"]), bound)
            sealed = base64.b64encode(nonce + text).decode()
            return self._answer(200, {"data": {"ciphertext": f"vault:v{len(versions)}:{sealed}"}})
        try:
            _, version, sealed = body["ciphertext"].split(":")
            raw = base64.b64decode(sealed)
            text = AESGCM(versions[int(version[1:]) - 1]).decrypt(raw[:12], raw[12:], bound)
        except (InvalidTag, ValueError):
            return self._answer(400, {"errors": ["cipher: message authentication failed"]})
        return self._answer(200, {"data": {"plaintext": base64.b64encode(text).decode()}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[EncryptionSettings]:
    monkeypatch.setenv("VAULT_TOKEN", "t0ken")
    Transit.keys = {"parley-acme": [os.urandom(32)], "parley-other": [os.urandom(32)], "parley": [os.urandom(32)]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Transit)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    yield EncryptionSettings(provider="vault", key="parley-{tenant}", vault=TransitSettings(address=address))
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[EncryptionSettings]:
    import boto3
    from moto import mock_aws

    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "eu-central-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    with mock_aws():
        kms = boto3.client("kms")
        for name in ("parley-acme", "parley-other", "parley"):
            made = kms.create_key()["KeyMetadata"]["KeyId"]
            kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=made)
        yield EncryptionSettings(provider="aws", key="alias/parley-{tenant}")


@pytest.fixture
def gcp(monkeypatch: pytest.MonkeyPatch) -> Iterator[EncryptionSettings]:
    with google_kms(["parley-acme", "parley-other", "parley"]) as address:
        dial_google(monkeypatch, address)
        yield EncryptionSettings(provider="gcp", key=f"{RING}/cryptoKeys/parley-{{tenant}}")


@pytest.fixture(params=["vault", "aws", "gcp"])
def given(request: pytest.FixtureRequest) -> EncryptionSettings:
    return request.getfixturevalue(request.param)


async def test_a_data_key_comes_back_for_its_tenant_alone(given: EncryptionSettings) -> None:
    """Also where all tenants share one key: the tenant is authenticated with it."""
    shared = given.model_copy(update={"key": (given.key or "").replace("-{tenant}", "")})
    for service in (open_key_service(given), open_key_service(shared)):
        wrapped = await service.wrap("acme", KEY)
        assert KEY not in wrapped.blob
        assert await service.unwrap("acme", wrapped) == KEY
        with pytest.raises(KeyMissing):
            await service.unwrap("other", wrapped)


async def test_old_keys_read_after_a_rotation(given: EncryptionSettings) -> None:
    """Each tenant's key is changed in the service."""
    service = open_key_service(given)
    old = await service.wrap("acme", KEY)
    assert await service.rotate(("acme", "other"))
    new = await service.wrap("acme", KEY)
    assert await service.unwrap("acme", old) == await service.unwrap("acme", new) == KEY


async def test_a_key_that_is_not_there_holds_up_no_other(given: EncryptionSettings) -> None:
    """The others are changed, and that one is told by its name."""
    service = open_key_service(given)
    before = [await versions(given, tenant) for tenant in ("acme", "other")]
    with pytest.raises(KeyMissing, match=r"^encryption\.key: no new version was made of \S*parley-nobody: "):
        await service.rotate(("acme", "nobody", "other"))
    assert [await versions(given, tenant) for tenant in ("acme", "other")] == [number + 1 for number in before]


async def versions(given: EncryptionSettings, tenant: str) -> int:
    """How many of that tenant's key there are, by what the service says."""
    if given.provider == "aws":  # whose key keeps its name
        import boto3

        kms = boto3.client("kms")
        key = kms.describe_key(KeyId=f"alias/parley-{tenant}")["KeyMetadata"]["KeyId"]
        return len(kms.list_key_rotations(KeyId=key)["Rotations"])
    by = (await open_key_service(given).wrap(tenant, KEY)).by
    return int(re.split(r"[/v]", by)[-1])


async def test_a_key_that_is_not_there_is_missed(given: EncryptionSettings) -> None:
    """By name, and not tried again and again."""
    service = open_key_service(given)
    with pytest.raises(KeyMissing, match=r"^encryption\.key: "):
        await service.wrap("nobody", KEY)


async def test_vaults_ciphertext_tells_its_version(vault: EncryptionSettings) -> None:
    """So that it is seen what is still wrapped under an old one."""
    service: KeyProvider = open_key_service(vault)
    assert (await service.wrap("acme", KEY)).by == "parley-acme:v1"
    await service.rotate(("acme",))
    assert (await service.wrap("acme", KEY)).by == "parley-acme:v2"


async def test_a_damaged_ciphertext_of_vaults_is_told_by_vault(vault: EncryptionSettings) -> None:
    """Also where it is no text any more."""
    service = open_key_service(vault)
    wrapped = await service.wrap("acme", KEY)
    with pytest.raises(KeyMissing, match=r"^encryption\.key: "):
        await service.unwrap("acme", Wrapped(wrapped.by, wrapped.blob[:-1] + b"\xff"))


async def test_googles_new_version_becomes_the_one_that_wraps(gcp: EncryptionSettings) -> None:
    """A version that was made is none that encrypts before it is the primary one."""
    service = open_key_service(gcp)
    assert (await service.wrap("acme", KEY)).by == f"{RING}/cryptoKeys/parley-acme/cryptoKeyVersions/1"
    await service.rotate(("acme",))
    assert (await service.wrap("acme", KEY)).by == f"{RING}/cryptoKeys/parley-acme/cryptoKeyVersions/2"
    assert (await service.wrap("other", KEY)).by.endswith("parley-other/cryptoKeyVersions/1")


async def test_google_away_and_google_unknown(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    """A service that does not answer is asked again, within the time of a step; without credentials nothing starts."""
    given = EncryptionSettings(provider="gcp", key=f"{RING}/cryptoKeys/parley")
    monkeypatch.setattr(key_services, "SECONDS", 0.5)
    with monkeypatch.context() as dialled:
        dial_google(dialled, f"127.0.0.1:{unused_tcp_port}")
        with pytest.raises(KeysUnavailable, match="the key service fails"):
            await open_key_service(given).wrap("acme", KEY)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", "/nowhere")
    with pytest.raises(SettingsFault, match=r"encryption\.provider: .*GOOGLE_APPLICATION_CREDENTIALS"):
        open_key_service(given)


async def test_a_service_that_is_away_is_asked_again(
    vault: EncryptionSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault that Temporal retries; a wrong token is none."""
    nobody = vault.model_copy(update={"vault": TransitSettings(address="http://127.0.0.1:9")})
    with pytest.raises(KeysUnavailable):
        await open_key_service(nobody).wrap("acme", KEY)
    monkeypatch.setenv("VAULT_TOKEN", "another")
    with pytest.raises(KeyMissing, match="permission denied"):
        await open_key_service(vault).unwrap("acme", Wrapped("parley-acme:v1", b"vault:v1:AAAA"))
    monkeypatch.delenv("VAULT_TOKEN")
    with pytest.raises(SettingsFault, match="VAULT_TOKEN holds no token"):
        open_key_service(vault)


@pytest.mark.parametrize(("provider", "module"), [("vault", "hvac"), ("aws", "boto3"), ("gcp", "google.api_core")])
def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, provider: Any, module: str) -> None:
    """With the exact command that installs it."""
    for name in list(sys.modules):
        if name == module or name.startswith((f"{module}.", "google.cloud.kms")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsFault, match=rf"pip install 'parley\[{provider}\]'"):
        open_key_service(EncryptionSettings(provider=provider, key="k"))
