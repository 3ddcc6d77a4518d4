"""``parley codec``: the codec server alone, as in production."""

from __future__ import annotations

__all__ = ["codec"]


async def codec() -> None:
    """Serve the codec server: what is encrypted, readable in the Temporal Web UI and CLI for whoever may."""
    from gateway.codec_serve import serve_codec
    from settings.load import load
    from settings.logs import configure_logs

    settings = load()
    configure_logs(settings.log, process="codec")
    await serve_codec(settings)
