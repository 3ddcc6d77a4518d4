"""Serves the codec server until it is told to stop: a process of its own, beside the gateway and not within it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette

from dialogue.faults import SettingsFault
from gateway.access import Access
from gateway.codec_payloads import CodecPayloads
from gateway.codec_server import create_codec_app
from gateway.serve import address_of, make_server, run_server, server_options
from records.database import connect_database, migrate
from records.key_owners import KeyOwners
from records.payload_looks import PayloadLooks
from records.protection import open_protection
from settings.layout import Layout
from settings.ports import check_free, free_port
from settings.schema import Settings

__all__ = ["FILE_NAME", "codec_app", "serve_codec", "ui_origins"]

FILE_NAME = "codec_server.json"


async def serve_codec(settings: Settings) -> None:
    """Writes ``<data>/run/codec_server.json`` (pid, host, port, url) when it listens and removes it at the end.

    Raises SettingsFault where nothing is encrypted, and for a busy port, and RecordsUnavailable.
    """
    if settings.encryption.provider == "none":
        raise SettingsFault(
            "encryption.provider: is none: nothing is encrypted, so there is nothing to open. Name a provider, or look "
            "at the histories without a codec server.",
            field="encryption.provider",
        )
    given = settings.codec_server
    host = address_of(given.host, "codec_server.host")
    options = server_options(settings.gateway)
    check_free(host, given.port, "codec_server.port")
    port = given.port or free_port(host)
    async with codec_app(settings, port) as app:
        server = make_server(app, host, port, options)
        scheme = "https" if settings.gateway.tls else "http"
        told = settings.data / "run" / FILE_NAME
        await run_server(server, "codec_server", scheme, host, port, asyncio.Event(), told)


@asynccontextmanager
async def codec_app(settings: Settings, port: int) -> AsyncIterator[Starlette]:
    """The application and what it uses; ``port``: where it will be served. Raises as :func:`serve_codec`."""
    layout = Layout.of(settings)
    layout.data.mkdir(parents=True, exist_ok=True)
    database = layout.database_url(settings.records.database)
    await migrate(database)
    engine = connect_database(database)
    # a site that is open asks nobody who they are; texts are shown to none of those
    mode = "keys" if settings.access.mode == "open" else settings.access.mode
    keyed = settings.model_copy(update={"access": settings.access.model_copy(update={"mode": mode})})
    try:
        protection = await asyncio.to_thread(open_protection, settings, engine)
        assert protection is not None  # noqa: S101 - there is a provider
        async with Access.open(keyed, engine) as access:
            yield create_codec_app(
                settings,
                CodecPayloads(protection, KeyOwners(engine)),
                PayloadLooks(engine),
                access,
                url=settings.codec_server.reached_at(port, tls=settings.gateway.tls is not None),
                ui_origins=ui_origins(settings),
            )
    finally:
        await engine.dispose()


def ui_origins(settings: Settings) -> tuple[str, ...]:
    """The origins of ``codec_server.ui_origins``, else the Web UI's own."""
    if settings.codec_server.ui_origins is not None:
        return settings.codec_server.ui_origins
    parts = urlsplit(settings.temporal.web_ui)
    return (f"{parts.scheme}://{parts.netloc}",)
