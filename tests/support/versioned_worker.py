"""A scripted worker in a process of its own, with a version or without one, until it is terminated.

    python -m tests.support.versioned_worker ADDRESS QUEUE [BUILD DEPLOYMENT]

It keeps no conversation in memory: every workflow task replays its history with the ``workflows`` that Python finds.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from records.connection import connect
from settings.schema import TemporalSettings, VersionSettings
from tests.support.scripted_steps import ScriptedSteps, scripted_worker
from workers.versions import deployment_config


async def main(address: str, queue: str, build: str = "", deployment: str = "") -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await connect(TemporalSettings(address=address))
    version = deployment_config(VersionSettings(build=build, deployment=deployment) if build else None)
    async with scripted_worker(client, ScriptedSteps(queue), deployment_config=version, max_cached_workflows=0):
        print("ready", flush=True)  # noqa: T201 (read by the test)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
