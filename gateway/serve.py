"""Serves the gateway until it is told to stop.

The server is granian, embedded: HTTP/1.1, HTTP/2 and WebSocket in this process and on its loop. It binds with
SO_REUSEPORT, so it would share a port with another of its kind without a word, and it does not tell which port it took
for 0: the port is chosen and held against others before it starts. Its stop waits for the last response without a
bound; requests that wait for an answer are therefore told first that the gateway stops. By itself it holds 128
connections at once and lets the others wait, so a few idle ones would shut everybody out: it is told how many it may
hold, and the process is allowed as many files. A handshake of TLS that is not done in ten seconds it ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import ASGIApp
from temporalio.runtime import PrometheusConfig

from dialogue.faults import SettingsFault
from gateway.access import Access
from gateway.app import create_app
from gateway.conversations import Conversations
from gateway.limits import Limits
from gateway.tls import tls_options
from gateway.turn_streams import open_streams
from records.caller_tokens import CallerTokens
from records.connection import connect
from records.protected import protection_of
from records.sdk_runtime import sdk_runtime
from records.tracing import exporting
from settings.ports import check_free, free_port
from settings.schema import GatewaySettings, Settings

__all__ = ["FILE_NAME", "address_of", "make_server", "run_server", "serve", "server_options", "url_of"]

FILE_NAME = "gateway.json"
BACKLOG = 1024
SPARE_FILES = 256
"""Beside the connections: databases, logs, Temporal."""
MAX_HEADERS = 64 * 1024
"""Bytes of all headers together on HTTP/2; the server's own bound is 16 MiB."""
STOP_SECONDS = 10.0
START_SECONDS = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


async def serve(settings: Settings, *, wait_seconds: float = 10) -> None:
    """Serves on ``gateway.host`` and ``gateway.port`` until SIGTERM or SIGINT; returns when all is closed.

    Waits up to ``wait_seconds`` for Temporal. Writes ``<data>/run/gateway.json`` (pid, host, port, url) when it
    listens and removes it at the end. Raises SettingsFault for a busy port, ConnectionError without Temporal.
    """
    with exporting(settings.telemetry, "gateway", f"{socket.gethostname()}:{os.getpid()}"):
        await _serve_all(settings, wait_seconds)


async def _serve_all(settings: Settings, wait_seconds: float) -> None:
    host = address_of(settings.gateway.host, "gateway.host")
    options = server_options(settings.gateway)
    check_free(host, settings.gateway.port, "gateway.port")
    metrics_port = free_port()
    protection = await asyncio.to_thread(protection_of, settings)
    keys = protection.keys if protection else None
    client = await connect(
        settings.temporal,
        protection=protection,
        runtime=sdk_runtime(PrometheusConfig(bind_address=f"127.0.0.1:{metrics_port}")),
        identity=f"gateway-{os.getpid()}@{socket.gethostname()}",
        wait_seconds=wait_seconds,
    )
    conversations = Conversations(
        client,
        task_queue=settings.queue_serving("workflows"),
        web_ui=settings.temporal.web_ui,
        page=settings.gateway.page,
        keys=keys,
    )
    stopping = asyncio.Event()
    port = settings.gateway.port or free_port(host)
    async with (
        open_streams(settings, conversations.trace_url, keys) as streams,
        Access.open(settings) as access,
        aclosing(Limits.open(settings)) as limits,
    ):
        app = create_app(
            conversations,
            settings,
            streams,
            access=access,
            limits=limits,
            callers=CallerTokens.open(settings),
            temporal_metrics_port=metrics_port,
            stopping=stopping,
        )
        server = make_server(app, host, port, options)
        scheme = "https" if settings.gateway.tls else "http"
        await run_server(server, "gateway", scheme, host, port, stopping, settings.data / "run" / FILE_NAME)


def make_server(app: ASGIApp, host: str, port: int, options: dict[str, Any]) -> Server:
    """``host`` is an address, ``port`` a free one, ``options`` what :func:`server_options` made of the settings."""
    return Server(
        app,
        address=host,
        port=port,
        # the lifespan has nothing to do: what the application uses is made and closed around it
        interface=Interfaces.ASGINL,
        log_level=LogLevels.error,
        # without a handler of its own, which would show an exception's message: its lines go where the process's go
        log_dictconfig={"incremental": True, "handlers": {}, "loggers": {}},
        **options,
    )


def server_options(gateway: GatewaySettings) -> dict[str, Any]:
    """How the server treats connections. Raises SettingsFault for a certificate or key that cannot be used."""
    milliseconds = round(gateway.header_seconds * 1000)
    return {
        "backlog": BACKLOG,
        "backpressure": _connections(gateway.connections),
        "http1_settings": HTTP1Settings(header_read_timeout=milliseconds),
        "http2_settings": HTTP2Settings(keep_alive_interval=milliseconds, max_headers_size=MAX_HEADERS),
        **tls_options(gateway.tls),
    }


def _connections(wanted: int) -> int:
    """As many of them as this process may have files for; it takes what the system lets it take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    log.warning("fewer connections", setting="gateway.connections", files=soft, wanted=wanted)
    return max(1, soft - SPARE_FILES)


async def run_server(
    server: Server, name: str, scheme: str, host: str, port: int, stopping: asyncio.Event, told: Path
) -> None:
    """Until a signal comes or ``stopping`` is set. While it listens ``told`` says so: pid, host, port, url.

    Raises SettingsFault, naming ``name``.port, where it cannot listen.
    """
    with _until_signal(stopping):
        await _run(server, name, scheme, host, port, stopping, told)


async def _run(
    server: Server, name: str, scheme: str, host: str, port: int, stopping: asyncio.Event, told: Path
) -> None:
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.create_task(stopping.wait())
    try:
        await _listening(name, host, port, serving)
        _tell(name, scheme, host, port, told)
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.set()
        server.stop()
        with suppress(TimeoutError):
            # a response that does not end is left behind: its message is kept by Temporal and not by us
            await asyncio.wait_for(serving, STOP_SECONDS)
        await asyncio.to_thread(told.unlink, missing_ok=True)
    log.info(f"{name} stopped", port=port)


def address_of(host: str, setting: str) -> str:
    """The numeric address of ``host``, which is what the server takes. Raises SettingsFault."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        raise SettingsFault(f"{setting}: {host} is no address of this machine.", field=setting) from error


async def _listening(name: str, host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Until the port takes connections. The server has no event for it, so it is knocked at."""
    at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where to knock, not what is bound
    async with asyncio.timeout(START_SECONDS):
        while not serving.done():
            try:
                _, writer = await asyncio.open_connection(at, port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return
    await serving
    raise SettingsFault(f"{name}.port: the server could not listen on {host}:{port}.", field=f"{name}.port")


def url_of(scheme: str, host: str, port: int) -> str:
    """An address of IPv6 stands in brackets there."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _tell(name: str, scheme: str, host: str, port: int, path: Path) -> None:
    here = {"pid": os.getpid(), "host": host, "port": port, "url": url_of(scheme, host, port)}
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f"{path.name}.{os.getpid()}")
    written.write_text(json.dumps(here) + "\n", encoding="utf-8")
    written.replace(path)  # whoever reads it never sees half of it
    log.info(f"{name} ready", **here)


@contextmanager
def _until_signal(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
