"""Serves the key service until it is told to stop: a process of its own, best an enclave of its own."""

from __future__ import annotations

import asyncio

from gateway.key_server import create_key_app
from gateway.serve import address_of, make_server, run_server, server_options
from records.key_release import KeyRelease
from settings.ports import check_free, free_port
from settings.schema import Settings

__all__ = ["FILE_NAME", "serve_keys"]

FILE_NAME = "key_service.json"


async def serve_keys(settings: Settings) -> None:
    """Writes ``<data>/run/key_service.json`` (pid, host, port, url) when it listens and removes it at the end.

    Raises SettingsFault where there are no keys to hand out or nobody to give them to, and for a busy port.
    """
    given = settings.key_service
    host = address_of(given.host, "key_service.host")
    options = server_options(settings.gateway)
    app = create_key_app(settings, await asyncio.to_thread(KeyRelease.open, settings))
    check_free(host, given.port, "key_service.port")
    port = given.port or free_port(host)
    server = make_server(app, host, port, options)
    scheme = "https" if settings.gateway.tls else "http"
    await run_server(server, "key_service", scheme, host, port, asyncio.Event(), settings.data / "run" / FILE_NAME)
