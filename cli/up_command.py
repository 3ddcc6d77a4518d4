"""``parley up``: everything on this machine, kept running until Ctrl-C."""

from __future__ import annotations

import asyncio

__all__ = ["up"]


async def up() -> None:
    """Start everything on this machine and keep it running.

    The models and the knowledge base are prepared once; then the Temporal server, the worker pools and the gateway
    run as processes of their own. One that dies is started again. Ctrl-C stops all of them.
    """
    from cli.console import output
    from cli.interrupts import until_told_to_stop
    from cli.stack import bring_up
    from settings.load import load

    console = output()
    with until_told_to_stop():
        async with bring_up(load(), console) as running:
            gateway = running.running.gateway
            console.print(f"\nReady. Talk at {gateway}/ or with `parley chat`; Ctrl-C stops everything.")
            try:
                await asyncio.Event().wait()
            finally:
                console.print("\nStopping.")
    console.print("Everything is stopped.")
