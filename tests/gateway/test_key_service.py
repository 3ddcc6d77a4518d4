"""The key service: tenants' keys for enclaves that prove what they are, and for nobody else.

Real are both ends, what they say to each other and every check. The machine is ``tests/support/sgx_platform.py``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from cli.main import run
from dialogue.faults import (
    KeyMissing,
    KeyServiceUntrusted,
    KeysUnavailable,
    SealBroken,
    SettingsFault,
)
from gateway.key_serve import FILE_NAME
from gateway.key_server import create_key_app
from records.attested_keys import AttestedKeys
from records.data_keys import DataKeys
from records.database import connect_database, migrate
from records.enclave import Enclave
from records.key_exchange import SUITE, KeyAnswer
from records.key_release import CHALLENGE_SECONDS, KeyRelease
from records.key_rotation import KeyRotation
from records.private_file import replace_private
from records.sgx_attestation import fingerprint
from records.tenant_keys import LocalKeys, Wrapped, open_key_provider
from settings.layout import Layout
from settings.schema import AttestedSettings, EnclaveSettings, EncryptionSettings, KeyServiceSettings, Settings
from tests.support.ports import free_port
from tests.support.served import served
from tests.support.sgx_platform import Body, SgxPlatform, device, flags

KEY = b"k" * 32
KNOWN = Body(mrenclave=b"\xe1" * 32, mrsigner=b"\x51" * 32, product=1, version=3)


@dataclass
class Site:
    """A key service that knows one enclave, and an enclave of that ``body`` on that ``platform`` which asks it."""

    folder: Path
    platform: SgxPlatform
    device: Path
    settings: Settings
    heard: list[httpx.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.release = KeyRelease.open(self.settings)
        self.app = create_key_app(self.settings, self.release)
        self.service_key = Ed25519PublicKey.from_public_bytes(self.release._identity.public_bytes())

    @property
    def site_keys(self) -> LocalKeys:
        return LocalKeys(Layout.of(self.settings).site_keys)

    def transport(self) -> httpx.AsyncBaseTransport:
        inner = httpx.ASGITransport(self.app)

        async def heard(request: httpx.Request) -> httpx.Response:
            self.heard.append(request)
            return await inner.handle_async_request(request)

        return httpx.MockTransport(heard)

    def enclave(self, *, seconds: float = 60, transport: httpx.AsyncBaseTransport | None = None) -> AttestedKeys:
        return AttestedKeys(
            "http://keys", self.service_key, Enclave(self.device), remember_seconds=seconds,
            transport=transport or self.transport(),
        )  # fmt: skip

    async def post(self, path: str, body: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=self.transport(), base_url="http://keys") as http:
            return await http.post(path, json=body)


@pytest.fixture
def platform() -> SgxPlatform:
    return SgxPlatform()


@pytest.fixture
def body() -> Body:
    return KNOWN


@pytest.fixture
def site(tmp_path: Path, platform: SgxPlatform, body: Body) -> Iterator[Site]:
    settings = Settings(
        data=tmp_path,
        encryption=EncryptionSettings(provider="local"),
        key_service=KeyServiceSettings(
            root_certificate=platform.write_root(tmp_path),
            enclaves={"codec": EnclaveSettings(mrenclave=KNOWN.mrenclave.hex(), product=1, least_version=3)},
        ),
    )
    (tmp_path / "attestation").mkdir()
    with device(tmp_path / "attestation", platform, body) as found:
        yield Site(tmp_path, platform, found, settings)


async def test_a_known_enclave_reads_and_writes_what_the_site_does(site: Site) -> None:
    """It was given the very keys that the file derives; no tenant's open another's."""
    enclave, outside = site.enclave(), site.site_keys
    assert await enclave.unwrap("acme", await outside.wrap("acme", KEY)) == KEY
    assert await outside.unwrap("acme", await enclave.wrap("acme", KEY)) == KEY
    with pytest.raises(SealBroken):
        await enclave.unwrap("other", await outside.wrap("acme", KEY))


async def test_keys_are_asked_for_once_while_they_are_remembered(site: Site) -> None:
    """Two questions a tenant, to read; no key stands in what the service was sent or in what it logs of it."""
    enclave = site.enclave()
    ours, others = [await site.site_keys.wrap(tenant, KEY) for tenant in ("acme", "other")]
    for _ in range(3):
        await enclave.unwrap("acme", ours)
    assert [request.url.path for request in site.heard] == ["/v1/challenge", "/v1/tenant-keys"]
    await enclave.unwrap("other", others)
    assert len(site.heard) == 4


async def test_nothing_is_wrapped_under_a_key_that_was_changed(site: Site) -> None:
    """While the enclave still remembers it: each wrapping asks anew."""
    enclave = site.enclave()
    old = await enclave.wrap("acme", KEY)
    await site.site_keys.rotate(("acme",))
    new = await enclave.wrap("acme", KEY)
    assert (new.by, old.by) == tuple(each.id for each in site.site_keys.of_tenant("acme"))


async def test_what_travels_is_ciphertext(site: Site) -> None:
    """Neither the site's keys nor the tenant's stand in an answer in any form that is not sealed."""
    answers: list[bytes] = []
    inner = httpx.ASGITransport(site.app)

    async def listening(request: httpx.Request) -> httpx.Response:
        found = await inner.handle_async_request(request)
        answers.append(await found.aread())
        return found

    await site.enclave(transport=httpx.MockTransport(listening)).wrap("acme", KEY)
    (key,) = site.site_keys.of_tenant("acme")
    for secret in (key.key, *site.site_keys._keys.values()):
        for form in (secret, base64.b64encode(secret), secret.hex().encode()):
            assert not any(form in answer for answer in answers)
    assert len(answers) == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (Body(mrenclave=b"\xe2" * 32), r"does not name: mrenclave (e2){32}, mrsigner (51){32}, product 1, version 3"),
        (Body(product=2), "does not name: .*, product 2, version 3"),
        (Body(version=2), "does not name: .*, version 2"),
        (Body(flags=KNOWN.flags | flags["debug"]), "is of a debug enclave"),
    ],
    ids=["measurement", "product", "version", "debug"],
)
async def test_an_enclave_that_is_not_named_is_given_nothing(site: Site, why: str) -> None:
    """Its quote is genuine; the line tells what it is, so that whoever runs the site can name it."""
    with pytest.raises(KeysUnavailable, match=why):
        await site.enclave().wrap("acme", KEY)


async def test_a_signer_may_be_named_instead_of_a_build(site: Site) -> None:
    """Then every build of that product from that version on is given the keys."""
    known = EnclaveSettings(mrsigner=KNOWN.mrsigner.hex().upper(), product=1, least_version=3)
    site.release._enclaves = {"any build": known}
    assert (await site.enclave().wrap("acme", KEY)).by
    site.release._enclaves = {"any build": known.model_copy(update={"product": 7})}
    with pytest.raises(KeysUnavailable):
        await site.enclave().wrap("acme", KEY)


async def test_an_enclave_that_is_no_longer_named_has_the_keys_no_longer(site: Site) -> None:
    """When what it remembers is over."""
    enclave = site.enclave(seconds=0)
    wrapped = await enclave.wrap("acme", KEY)
    site.release._enclaves = {"newer": EnclaveSettings(mrenclave="00" * 32)}
    with pytest.raises(KeysUnavailable, match="the key service refuses this enclave"):
        await enclave.unwrap("acme", wrapped)


@pytest.fixture
async def asked(site: Site) -> dict[str, Any]:
    """What a known enclave sent a moment ago, as somebody in between has it."""
    await site.enclave().wrap("acme", KEY)
    return json.loads(site.heard[-1].content)


async def test_a_quote_is_for_its_own_request_alone(site: Site, asked: dict[str, Any]) -> None:
    """With another key pair, tenant or challenge it is refused: whoever recorded it gets nothing they can open."""
    nonce = (await site.post("/v1/challenge", {})).json()["nonce"]
    for change in (
        {"public_key": base64.b64encode(b"\7" * 32).decode()}, {"tenant": "other"}, {"nonce": nonce},
    ):  # fmt: skip
        answer = await site.post("/v1/tenant-keys", {**asked, **change})
        assert answer.status_code == 403, change
        assert answer.json()["type"] == "/docs#attestation-refused"
        assert "is of another request" in answer.json()["detail"]


async def test_a_challenge_is_this_services_and_of_this_minute(
    site: Site, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another service's, a made-up one and an old one are refused."""
    foreign = KeyRelease.open(site.settings).challenge().model_dump(mode="json")["nonce"]
    for nonce in (foreign, base64.b64encode(bytes(56)).decode(), ""):
        answer = await site.post("/v1/tenant-keys", {**asked, "nonce": nonce})
        assert (answer.status_code, answer.json()["detail"].split(":")[0]) == (403, "nonce")
    assert (await site.post("/v1/tenant-keys", asked)).status_code == 200
    import time

    later = time.time() + CHALLENGE_SECONDS + 1
    monkeypatch.setattr("records.key_release.time.time", lambda: later)
    assert (await site.post("/v1/tenant-keys", asked)).status_code == 403


async def test_keys_of_somebody_in_between_are_not_believed(site: Site) -> None:
    """Who answers in the service's place can seal keys of their own for the enclave; they cannot sign them."""
    own = base64.b64encode(b"\0" * 32).decode()

    async def between(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/challenge":
            return httpx.Response(200, json={"nonce": base64.b64encode(b"n" * 56).decode()})
        public = X25519PublicKey.from_public_bytes(base64.b64decode(json.loads(request.content)["public_key"]))
        sealed = SUITE.encrypt(json.dumps({"keys": [{"id": "mine", "key": own}]}).encode(), public, info=b"")
        answer = {"sealed": base64.b64encode(sealed).decode(), "signature": base64.b64encode(bytes(64)).decode()}
        return httpx.Response(200, json=answer)

    with pytest.raises(KeyServiceUntrusted, match="is not signed with it"):
        await site.enclave(transport=httpx.MockTransport(between)).wrap("acme", KEY)


async def test_an_answer_to_another_request_is_not_believed(site: Site) -> None:
    """The service's own signature, of a minute ago."""
    inner, kept = httpx.ASGITransport(site.app), dict[str, bytes]()

    async def replaying(request: httpx.Request) -> httpx.Response:
        found = await inner.handle_async_request(request)
        old = kept.setdefault(request.url.path, await found.aread())
        return found if request.url.path == "/v1/challenge" else httpx.Response(200, content=old)

    enclave = site.enclave(seconds=0, transport=httpx.MockTransport(replaying))
    await enclave.wrap("acme", KEY)
    with pytest.raises(KeyServiceUntrusted):
        await enclave.wrap("acme", KEY)


async def test_keys_change_while_everything_runs(site: Site) -> None:
    """One that was made since is fetched when it is met; one that left the file is missed by its name."""
    enclave = site.enclave()
    old = await enclave.wrap("acme", KEY)
    await site.site_keys.rotate(("acme",))
    new = await site.site_keys.wrap("acme", KEY)
    assert new.by != old.by
    assert await enclave.unwrap("acme", new) == KEY
    assert await enclave.unwrap("acme", old) == KEY
    assert (await enclave.wrap("acme", KEY)).by == new.by
    assert not await enclave.rotate(("acme",))
    with pytest.raises(KeyMissing, match="has no key gone"):
        await enclave.unwrap("acme", Wrapped("gone", old.blob))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.ConnectError("nobody there"), r"http://keys cannot be asked \(nobody there\)"),
        (httpx.Response(500, text="<p>broken"), "answers 500"),
    ],
)
async def test_a_service_that_is_away_is_asked_again(site: Site, answer: Any, why: str) -> None:
    """Temporal attempts it again, and the line names the setting."""

    async def away(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(KeysUnavailable, match=why) as caught:
        await site.enclave(transport=httpx.MockTransport(away)).wrap("acme", KEY)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("sent", "status", "what"),
    [
        ({}, 422, "tenant: "),
        ({"tenant": "acme", "nonce": "", "public_key": "AAAA", "quote": ""}, 422, "public_key: "),
        ([], 400, ""),
        ({"tenant": "x" * 200_000}, 413, ""),
    ],
)
async def test_what_is_no_request_is_refused_in_one_line(site: Site, sent: Any, status: int, what: str) -> None:
    """As a problem that names the field."""
    answer = await site.post("/v1/tenant-keys", sent)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(what)


@pytest.fixture
async def data_keys(site: Site) -> AsyncIterator[tuple[DataKeys, DataKeys]]:
    """Those of a process outside with the file, and those of an enclave that asks over a real connection."""
    url = Layout.of(site.settings).database_url(site.settings.records.database)
    await migrate(url)
    engine = connect_database(url)
    async with served(site.app) as port:
        address = f"http://127.0.0.1:{port}"
        inside = AttestedKeys(address, site.service_key, Enclave(site.device))
        yield DataKeys(engine, site.site_keys), DataKeys(engine, inside)
    await engine.dispose()


async def test_an_enclave_opens_the_data_keys_of_the_site(data_keys: tuple[DataKeys, DataKeys]) -> None:
    """Over HTTP: what a user's data key sealed outside is read inside, and the other way round."""
    outside, inside = data_keys
    hers = await outside.of_user("acme", "ann")
    assert await inside.by_id(hers.id) == hers
    his = await inside.of_user("acme", "bob")
    assert await outside.by_id(his.id) == his


async def test_whoever_comes_right_after_a_rotation_is_read_without_the_old_key(
    site: Site, data_keys: tuple[DataKeys, DataKeys]
) -> None:
    """The enclave knew the tenant's keys of before: the data key that it makes is under the new one all the same."""
    outside, inside = data_keys
    await inside.of_user("acme", "ann")
    rotation = KeyRotation(outside._engine, site.site_keys)
    await rotation.rotate()
    assert (await rotation.rewrap()).done == 1
    his = await inside.of_user("acme", "bob")
    assert (await rotation.standing()).behind == 0
    file = Layout.of(site.settings).site_keys
    replace_private(file, file.read_text().splitlines()[0] + "\n")
    assert await DataKeys(outside._engine, site.site_keys).by_id(his.id) == his


async def test_it_is_served_as_a_process_of_its_own(site: Site, repository: Path) -> None:
    """`parley keys serve` says where it listens, answers, and takes that back when it ends; its log is JSON."""
    given = site.settings.key_service.model_copy(update={"port": free_port()})
    config = site.folder / "temporal.yaml"
    written = site.settings.model_copy(update={"key_service": given}).model_dump(mode="json", exclude_unset=True)
    config.write_text(yaml.safe_dump({**written, "key_service": given.model_dump(mode="json")}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", "keys", "serve",
        cwd=repository, env={**os.environ, "PARLEY_CONFIG": str(config)}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        lines = [json.loads(await asyncio.wait_for(process.stderr.readline(), 60))]
        told = json.loads((site.folder / "run" / FILE_NAME).read_text())
        assert (told["pid"], told["port"]) == (process.pid, given.port)
        async with httpx.AsyncClient(base_url=told["url"]) as http:
            assert (await http.get("/healthz")).text == "ok\n"
            assert (await http.post("/v1/challenge")).status_code == 200
    finally:
        process.terminate()
    _, rest = await process.communicate()
    lines += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0
    assert {line["process"] for line in lines} == {"key-service"}
    assert lines[0]["event"] == "key_service ready"
    assert not (site.folder / "run" / FILE_NAME).exists()


@pytest.mark.parametrize("kind", [None, "none", "epid"])
def test_a_process_in_no_enclave_says_so(tmp_path: Path, kind: str | None) -> None:
    """Where there is no device, under gramine-direct ("none"), and with another kind of attestation."""
    if kind is not None:
        (tmp_path / "attestation_type").write_text(kind)
    with pytest.raises(SettingsFault, match="runs in none") as caught:
        Enclave(tmp_path).require()
    assert caught.value.field == "encryption.provider"


def test_the_provider_attested_is_for_enclaves(tmp_path: Path) -> None:
    """Opened as a worker or gateway opens it, outside of one."""
    attested = AttestedSettings(address="http://127.0.0.1:8091", service_key=base64.b64encode(bytes(32)).decode())
    settings = Settings(data=tmp_path, encryption=EncryptionSettings(provider="attested", attested=attested))
    with pytest.raises(SettingsFault, match="runs in none"):
        open_key_provider(settings)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"enclaves": {}}, "key_service.enclaves"),
        ({"root_certificate": None}, "key_service.root_certificate"),
        ({"root_certificate": Path("gone.pem")}, "key_service.root_certificate"),
        ({"revocation_lists": (Path("sgx-root-ca.pem"),)}, "key_service.revocation_lists"),
        ({"identity_key": Path("gone.pem")}, "key_service.identity_key"),
    ],
)
def test_a_service_that_could_check_nothing_does_not_start(site: Site, change: dict[str, Any], field: str) -> None:
    """The line names the setting."""
    paths = {name: site.folder / value if isinstance(value, Path) else value for name, value in change.items()}
    paths = {name: tuple(site.folder / each for each in value) if name == "revocation_lists" else value
             for name, value in paths.items()}  # fmt: skip
    given = site.settings.key_service.model_copy(update=paths)
    with pytest.raises(SettingsFault) as caught:
        KeyRelease.open(site.settings.model_copy(update={"key_service": given}))
    assert caught.value.field == field


def test_keys_that_a_cloud_holds_are_not_handed_out(site: Site) -> None:
    """They never leave it, so there is nothing that this service could give."""
    given = site.settings.model_copy(update={"encryption": EncryptionSettings(provider="none")})
    with pytest.raises(SettingsFault, match="must be local or environment"):
        KeyRelease.open(given)


def test_the_command_line_shows_a_quote(
    site: Site, platform: SgxPlatform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to write into key_service.enclaves and platforms; exit 1 where it does not hold."""
    file, quote = site.folder / "temporal.yaml", site.folder / "codec.quote"
    file.write_text("key_service: {root_certificate: sgx-root-ca.pem}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    quote.write_bytes(platform.quote(KNOWN))
    assert run(["keys", "quote", str(quote), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["holds"], shown["mrenclave"], shown["product"]) == (True, "e1" * 32, 1)
    assert shown["platform"] == fingerprint(platform.pck)
    quote.write_bytes(SgxPlatform().quote(KNOWN))
    assert run(["keys", "quote", str(quote)]) == 1
    said = capsys.readouterr()
    assert "holds      false" in said.out
    assert "its root certificate is not key_service.root_certificate" in said.err


def test_the_command_line_prints_the_services_public_key(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is what verifies its answers."""
    file = site.folder / "temporal.yaml"
    file.write_text(f"data: {site.folder}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    assert run(["keys", "identity"]) == 0
    key = capsys.readouterr().out.strip()
    assert AttestedSettings(service_key=key)
    assert base64.b64decode(key) == site.release._identity.public_bytes()
    signed = KeyAnswer.signed_bytes(b"bound", b"sealed")
    Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(
        base64.b64decode(site.release._identity.sign(signed)), signed
    )
