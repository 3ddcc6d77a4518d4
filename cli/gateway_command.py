"""``parley gateway``: the gateway alone, as in production."""

from __future__ import annotations

__all__ = ["gateway"]


async def gateway() -> None:
    """Serve the gateway until it is told to stop."""
    from gateway.serve import serve
    from settings.load import load

    await serve(load(), wait_seconds=30)
