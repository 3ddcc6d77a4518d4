"""Connects to Temporal as ``temporal.yaml`` says, with the one plugin."""

from __future__ import annotations

import asyncio
from pathlib import Path

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode, TLSConfig
from temporalio.worker import Interceptor

from records.plugin import parley_plugin
from settings.schema import TemporalSettings

__all__ = ["connect"]


def _pem(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None


async def connect(
    settings: TemporalSettings,
    *,
    interceptors: tuple[Interceptor, ...] = (),
    runtime: Runtime | None = None,
    identity: str | None = None,
    wait_seconds: float = 0,
) -> Client:
    """A client. Waits up to ``wait_seconds`` for a server that is still starting.

    Raises ``ConnectionError`` with one clear line when nothing answers.
    """
    tls = settings.tls
    config: TLSConfig | bool = False
    if tls is not None:
        config = TLSConfig(
            server_root_ca_cert=await asyncio.to_thread(_pem, tls.server_root_ca),
            client_cert=await asyncio.to_thread(_pem, tls.client_cert),
            client_private_key=await asyncio.to_thread(_pem, tls.client_key),
            domain=tls.domain,
        )
    deadline = asyncio.get_running_loop().time() + wait_seconds
    while True:
        try:
            return await Client.connect(
                settings.address,
                namespace=settings.namespace,
                tls=config,
                plugins=[parley_plugin(interceptors=interceptors)],
                runtime=runtime,
                identity=identity,
            )
        except (RPCError, RuntimeError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                raise
            if asyncio.get_running_loop().time() >= deadline:
                raise ConnectionError(
                    f"temporal.address: no Temporal server answers at {settings.address}. "
                    "Start one with `parley up`, or set the address of yours."
                ) from error
            await asyncio.sleep(0.2)
