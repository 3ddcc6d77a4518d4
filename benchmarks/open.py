"""Many open conversations on one worker: memory of each, hits of its cache, and what an evicted one costs to resume.

Each conversation has said one message to steps that do nothing, and is open. The worker is a process of its own. A
conversation beyond the cache (``pools.<pool>.max_cached_workflows``) is replayed from its history when it is spoken to.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from temporalio.client import Client

from benchmarks.figures import percentile
from benchmarks.metrics_page import samples
from benchmarks.open_worker import QUEUE
from benchmarks.shapes import CACHED, QUESTION, ROOT, file_server
from dialogue.messages import Say
from gateway.conversations import Conversations
from records.plugin import parley_plugin

__all__ = ["run", "table"]

AT_ONCE = 40
SPOKEN_TO = 100
COUNTED = ("temporal_sticky_cache_hit", "temporal_sticky_cache_miss", "temporal_sticky_cache_total_forced_eviction")


@dataclass(frozen=True, slots=True)
class Case:
    """So many open conversations, on a worker that keeps so many of them in memory."""

    open: int
    cached: int

    @property
    def at_once(self) -> int:
        """So many are opened at a time: few against all, or the oldest would be open no longer than the newest."""
        return min(AT_ONCE, self.open // 10)

    @property
    def surely_gone(self) -> int:
        """So many of the oldest were pushed out of the worker's memory by the later ones."""
        return min(self.open // 2, self.open - self.cached - self.at_once)


CASES = (Case(1_000, CACHED), Case(10_000, CACHED), Case(10_000, 10_000))
QUICK_CASES = (Case(20, 10),)


async def run(*, quick: bool = False) -> dict[str, Any]:
    """A row a case; memory in KiB, times in milliseconds."""
    return {"cases": [await _measure(case, 5 if quick else SPOKEN_TO) for case in (QUICK_CASES if quick else CASES)]}


async def _measure(case: Case, spoken_to: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with await file_server(Path(folder) / "temporal.db") as environment:
            address = environment.client.service_client.config.target_host
            client = await Client.connect(address, plugins=[parley_plugin()])
            conversations = Conversations(client, task_queue=QUEUE, web_ui="http://127.0.0.1:8233")
            async with _worker(address, case.cached) as worker:
                await _open(conversations, [f"warm-{number}" for number in range(5)], case.at_once)
                names = [f"benchmark-{uuid.uuid4().hex}" for _ in range(case.open)]
                before, began = await worker.memory(), time.perf_counter()
                await _open(conversations, names, case.at_once)
                seconds, after = time.perf_counter() - began, await worker.memory()
                newest, oldest = names[-min(case.cached, case.open) // 2 :], names[: max(0, case.surely_gone)]
                return {
                    "open": case.open,
                    "max_cached_workflows": case.cached,
                    "opened_per_second": round(case.open / seconds, 1),
                    "worker_mib": {"before": round(before / 1024, 1), "after": round(after / 1024, 1)},
                    "kib_each_cached": round((after - before) / min(case.open, case.cached), 1),
                    "resumed_from_cache": await _say_again(conversations, worker, newest, spoken_to),
                    "resumed_from_history": (
                        await _say_again(conversations, worker, oldest, spoken_to) if oldest else None
                    ),
                }


@dataclass(frozen=True, slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    metrics: str

    async def memory(self) -> int:
        """KiB."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        return (await _said(self.process, "kib"))["kib"]


async def _said(process: asyncio.subprocess.Process, what: str) -> dict[str, Any]:
    """The next line of JSON that says ``what``; the SDK writes its warnings between."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(f'{{"{what}"'.encode()):
            return json.loads(line)
    raise RuntimeError(f"the worker ended before it said {what}")


@asynccontextmanager
async def _worker(address: str, cached: int) -> AsyncGenerator[_Worker]:
    command = (sys.executable, "-m", "benchmarks.open_worker", address, str(cached))
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
    assert process.stdin is not None
    try:
        yield _Worker(process, **await _said(process, "metrics"))
    finally:
        process.stdin.close()
        await process.communicate()  # reads what is left, or a full pipe would keep the process for ever


async def _open(conversations: Conversations, names: Sequence[str], at_once: int) -> None:
    """The last of ``names`` are opened last."""
    waiting = iter(names)

    async def one_after_another() -> None:
        for name in waiting:
            await conversations.say(name, Say(message_id="m1", text=QUESTION), fresh=True)

    await asyncio.gather(*(one_after_another() for _ in range(at_once)))


async def _say_again(conversations: Conversations, worker: _Worker, names: Sequence[str], count: int) -> dict[str, Any]:
    """A second message to some of them, one at a time."""
    before, times = await _counts(worker), list[float]()
    for name in random.Random(1).sample(list(names), min(count, len(names))):
        began = time.perf_counter()
        await conversations.say(name, Say(message_id="m2", text=QUESTION))
        times.append(1000 * (time.perf_counter() - began))
    after = await _counts(worker)
    counted = {name.removeprefix("temporal_sticky_cache_"): int(after[name] - before[name]) for name in COUNTED}
    return {"p50_ms": round(percentile(times, 50), 1), "p95_ms": round(percentile(times, 95), 1), **counted}


async def _counts(worker: _Worker) -> dict[str, float]:
    counts = dict.fromkeys(COUNTED, 0.0)
    for name, _, value in await asyncio.to_thread(lambda: list(samples(worker.metrics))):
        if name in counts:
            counts[name] += value
    return counts


def table(result: dict[str, Any]) -> Table:
    shown = Table("open", "kept in memory", title="Open conversations on one worker", title_style="",
                  title_justify="left", box=SIMPLE_HEAD)  # fmt: skip
    for column in ("KiB each", "worker MiB", "cached: p50", "p95", "evicted: p50", "p95", "×"):
        shown.add_column(column, justify="right")
    for case in result["cases"]:
        here, gone = case["resumed_from_cache"], case["resumed_from_history"]
        shown.add_row(
            f"{case['open']:,}",
            f"{case['max_cached_workflows']:,}",
            f"{case['kib_each_cached']:.0f}",
            f"{case['worker_mib']['after']:.0f}",
            f"{here['p50_ms']:.0f}",
            f"{here['p95_ms']:.0f}",
            *((f"{gone['p50_ms']:.0f}", f"{gone['p95_ms']:.0f}", f"{gone['p50_ms'] / here['p50_ms']:.2f}")
              if gone else ("", "", "")),
        )  # fmt: skip
    return shown
