"""Serves the gateway until it is told to stop."""

from __future__ import annotations

from settings.schema import Settings

__all__ = ["serve"]


async def serve(settings: Settings, *, wait_seconds: float = 10) -> None:
    """Serves on ``gateway.host`` and ``gateway.port`` until SIGTERM or SIGINT; returns when all is closed.

    Waits up to ``wait_seconds`` for Temporal. Writes ``<data>/run/gateway.json`` (pid, host, port, url) when it
    listens and removes it at the end. Raises SettingsFault for a busy port, ConnectionError without Temporal.
    """
    raise NotImplementedError
