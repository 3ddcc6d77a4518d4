"""A client waits for a server that is still starting, and says in one line what is missing."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trustme
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.testing import WorkflowEnvironment

from dialogue.faults import SettingsFault
from records.connection import connect
from settings.schema import TemporalSettings, TlsSettings
from tests.support.ports import free_port
from tests.support.tls_front import tls_front


@pytest.mark.parametrize("seconds", [0, 0.3])
async def test_no_server_is_told_with_the_way_out(seconds: float) -> None:
    """At once, or when the time is over."""
    settings = TemporalSettings(address=f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionError, match=r"no Temporal server answers at .*Start one with `parley up`"):
        await connect(settings, wait_seconds=seconds)


async def test_a_namespace_that_never_comes_is_told_with_the_way_out(temporal: WorkflowEnvironment) -> None:
    """By whoever waits for a server; one who does not wait asks no more than before."""
    address = temporal.client.service_client.config.target_host
    settings = TemporalSettings(address=address, namespace="never")
    with pytest.raises(ConnectionError, match=r"has no never\. Make it with `temporal operator namespace create"):
        await connect(settings, wait_seconds=0.3)
    assert (await connect(settings)).namespace == "never"


async def test_a_namespace_that_is_still_made_is_waited_for(temporal: WorkflowEnvironment) -> None:
    """A worker that starts beside its server comes before the server knows the namespace."""
    address = temporal.client.service_client.config.target_host
    name = f"late-{uuid4().hex[:8]}"
    waiting = asyncio.create_task(connect(TemporalSettings(address=address, namespace=name), wait_seconds=60))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    kept = Duration(seconds=86_400)
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=kept)
    await temporal.client.workflow_service.register_namespace(request)
    assert (await waiting).namespace == name


async def test_the_api_key_goes_to_the_server_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporal: WorkflowEnvironment
) -> None:
    """Out of the file or the variable, without the line's end."""
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    monkeypatch.setenv("A_KEY", "other")
    address = temporal.client.service_client.config.target_host
    for given, key in (({"api_key_file": file}, "s3cret"), ({"api_key_env": "A_KEY"}, "other"), ({}, None)):
        client = await connect(TemporalSettings(address=address, **given))  # type: ignore[arg-type]
        assert client.service_client.config.api_key == key
    assert "s3cret" not in repr(TemporalSettings(address=address, api_key_file=file))


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"\n", "holds no API key"), (b"two\nlines", "holds no API key"), (b"\xff", "no text")],
)
async def test_a_file_without_a_key_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    """Before anything is connected; what it holds is not repeated."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsFault, match=rf"temporal\.api_key_file: .*{told}") as fault:
        await connect(TemporalSettings(api_key_file=file))
    assert "lines" not in fault.value.message


async def test_a_variable_without_a_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file is."""
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(SettingsFault, match=r"temporal\.api_key_env: holds no API key"):
        await connect(TemporalSettings(api_key_env="A_KEY"))


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With its setting, and not as a server that does not answer."""
    tls = TlsSettings(server_root_ca=tmp_path / "gone.pem")
    with pytest.raises(SettingsFault, match=r"temporal\.tls\.server_root_ca: .*gone\.pem cannot be read"):
        await connect(TemporalSettings(tls=tls))


async def test_a_server_behind_tls_is_believed_by_its_authority(temporal: WorkflowEnvironment, tmp_path: Path) -> None:
    """And believes us by our certificate; whoever shows none, or trusts another authority, is told why."""
    ours, foreign = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    foreign.cert_pem.write_to_path(tmp_path / "foreign.pem")
    client = ours.issue_cert("parley")
    (tmp_path / "cert.pem").write_bytes(b"".join(part.bytes() for part in client.cert_chain_pems))
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    ours.issue_cert("temporal.example").configure_cert(context)
    mutual = {"client_cert": tmp_path / "cert.pem", "client_key": tmp_path / "key.pem", "domain": "temporal.example"}
    async with tls_front(temporal.client.service_client.config.target_host, context) as address:

        def behind(**tls: Any) -> TemporalSettings:
            return TemporalSettings(address=address, tls=TlsSettings(**tls))

        connected = await connect(behind(server_root_ca=tmp_path / "ca.pem", **mutual), wait_seconds=20)
        assert await connected.service_client.check_health()
        for refused in (
            behind(server_root_ca=tmp_path / "foreign.pem", **mutual),
            behind(server_root_ca=tmp_path / "ca.pem", domain="temporal.example"),
            behind(**{**mutual, "domain": "other.example"}, server_root_ca=tmp_path / "ca.pem"),
        ):
            with pytest.raises(ConnectionError, match=rf"no Temporal server answers at {address} .*temporal\.tls"):
                await connect(refused)
        with pytest.raises(ConnectionError, match="no Temporal server answers"):
            await connect(TemporalSettings(address=address))
