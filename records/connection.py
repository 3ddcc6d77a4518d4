"""Connects to Temporal as ``temporal.yaml`` says, with the one plugin."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode, TLSConfig
from temporalio.worker import Interceptor

from dialogue.faults import SettingsFault
from records.plugin import parley_plugin
from settings.schema import TemporalSettings

if TYPE_CHECKING:
    from records.protection import Protection

__all__ = ["connect"]

_LOOK_SECONDS = 0.1


def _pem(path: Path | None, name: str) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise _unreadable(f"temporal.tls.{name}", path, error) from None


def _api_key(settings: TemporalSettings) -> str | None:
    """Never shown: neither in a message nor in the log."""
    if (variable := settings.api_key_env) is not None:
        field, found = "temporal.api_key_env", os.environ.get(variable, "")
    elif (file := settings.api_key_file) is not None:
        field = "temporal.api_key_file"
        try:
            found = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(field, file, error) from None
    else:
        return None
    key = found.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise SettingsFault(f"{field}: holds no API key. Put the key there, on one line.", field=field)
    return key


def _unreadable(field: str, path: Path | None, error: Exception) -> SettingsFault:
    why = getattr(error, "strerror", None) or "it is no text"
    return SettingsFault(f"{field}: {path} cannot be read ({why}). Correct the path.", field=field)


async def connect(
    settings: TemporalSettings,
    *,
    interceptors: tuple[Interceptor, ...] = (),
    runtime: Runtime | None = None,
    identity: str | None = None,
    wait_seconds: float = 0,
    protection: Protection | None = None,
) -> Client:
    """A client; one that reads and writes what is encrypted needs ``protection``.

    Waits up to ``wait_seconds`` for a server that is still starting, and until that knows the namespace. Raises
    ``ConnectionError`` with one clear line when nothing answers, or nothing that has the namespace, and SettingsFault
    for a key or certificate that cannot be read.
    """
    tls = settings.tls
    config: TLSConfig | bool = False
    if tls is not None:
        config = TLSConfig(
            server_root_ca_cert=await asyncio.to_thread(_pem, tls.server_root_ca, "server_root_ca"),
            client_cert=await asyncio.to_thread(_pem, tls.client_cert, "client_cert"),
            client_private_key=await asyncio.to_thread(_pem, tls.client_key, "client_key"),
            domain=tls.domain,
        )
    key = await asyncio.to_thread(_api_key, settings)
    deadline = asyncio.get_running_loop().time() + wait_seconds
    while True:
        late = asyncio.get_running_loop().time() >= deadline
        try:
            client = await Client.connect(
                settings.address,
                namespace=settings.namespace,
                tls=config,
                api_key=key,
                plugins=[parley_plugin(interceptors=interceptors, protection=protection)],
                runtime=runtime,
                identity=identity,
            )
            if not wait_seconds or await _knows_namespace(client):
                return client
            if late:
                raise ConnectionError(
                    f"temporal.namespace: the server at {settings.address} has no {settings.namespace}. "
                    f"Make it with `temporal operator namespace create --namespace {settings.namespace}`."
                )
        except (RPCError, RuntimeError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                raise
            if late:
                raise _no_server(settings, error) from error
        await asyncio.sleep(_LOOK_SECONDS)


def _no_server(settings: TemporalSettings, error: Exception) -> ConnectionError:
    """With TLS the reason is told: more often than not it is a certificate."""
    if settings.tls is None:
        way = "Start one with `parley up`, or set the address of yours; where it takes TLS alone, set temporal.tls."
        return ConnectionError(f"temporal.address: no Temporal server answers at {settings.address}. {way}")
    return ConnectionError(
        f"temporal.address: no Temporal server answers at {settings.address} over TLS ({error}). "
        "Look at the address, and whether temporal.tls names its authority, its name and your certificate."
    )


async def _knows_namespace(client: Client) -> bool:
    """A server answers some moments before it knows its namespaces. One that does not let us look is believed."""
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is RPCStatusCode.UNAVAILABLE:
            raise
        return error.status is not RPCStatusCode.NOT_FOUND
    return True
