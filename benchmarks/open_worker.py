"""A worker in a process of its own, so that its memory is its own: ``python -m benchmarks.open_worker ADDRESS CACHED``.

Says ``{"metrics": …}`` on standard output once it takes tasks; answers each line of its standard input with
``{"kib": …}``, what it holds after a collection, and ends with it. The SDK's own warnings stand between.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import re
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from benchmarks.shapes import Living, planned_steps
from cli.ending import end
from records.plugin import parley_plugin
from settings.ports import free_port
from workflows.conversation_workflow import ConversationWorkflow

__all__ = ["QUEUE"]

QUEUE = "benchmark-open"


class _Nothing(dict[Any, Any]):
    """Keeps nothing: what the script remembers of its calls is not the conversations' memory."""

    def __setitem__(self, key: Any, value: Any) -> None:
        return None


async def serve(address: str, cached: int) -> None:
    port = free_port()
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{port}")
    client = await Client.connect(
        address, plugins=[parley_plugin()], runtime=Runtime(telemetry=TelemetryConfig(metrics=metrics))
    )
    steps = replace(planned_steps(QUEUE, gpu=QUEUE), calls=deque(maxlen=0), rows=_Nothing())
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[ConversationWorkflow],
        activities=steps.activities(),
        interceptors=[Living()],
        max_cached_workflows=cached,
    )
    async with worker:
        print(json.dumps({"metrics": f"http://127.0.0.1:{port}/metrics"}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps({"kib": _memory()}), flush=True)


def _memory() -> int:
    """KiB of its own, also what the system has put aside to swap; what is free but not given back does not count."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text("ascii")
    return sum(int(found) for found in re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+) kB", status, re.MULTILINE))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
    end(0)
