"""``parley gateway``: the gateway alone, as in production."""

from __future__ import annotations

__all__ = ["gateway"]


async def gateway() -> None:
    """Serve the gateway until it is told to stop."""
    from gateway.serve import serve
    from settings.load import load
    from settings.logs import configure_logs

    settings = load()
    configure_logs(settings.log, process="gateway")
    await serve(settings, wait_seconds=30)
