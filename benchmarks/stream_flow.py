"""From the token log's append to the byte at the client, with so many streams at once, some of them idle.

Gateway, writer and clients are a process each. A stream's tokens are texts of their own (``<17>``), so each can be
found among the bytes of any transport, and one that did not come is seen to be missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import percentile, spread
from benchmarks.stream_children import Child, child, key_of
from benchmarks.stream_wire import TRANSPORTS, Reader, read_from
from policy.personal_data import KINDS
from records.token_log import DEFAULT_MAX_STREAM_BYTES
from records.token_log_file import TokenLogFile
from tests.support.site import write_settings

__all__ = ["Stand", "finish", "held", "late", "places_for", "reading", "stand"]

TENANT = "open"
FILES = 8192
SECONDS = 60
"""Nothing here takes so long."""
_names = itertools.count()


@dataclass(frozen=True, slots=True)
class Stand:
    """A gateway and a writer on one token log."""

    gateway: Child
    writer: Child

    @property
    def port(self) -> int:
        return self.gateway.told["port"]

    def kib(self) -> int:
        return psutil.Process(self.gateway.pid).memory_info().rss // 1024

    def cpu(self) -> float:
        times = psutil.Process(self.gateway.pid).cpu_times()
        return times.user + times.system

    def logged(self, place: Sequence[str]) -> dict[str, float]:
        """When each text was appended."""
        file = TokenLogFile(Path(self.writer.told["writes"]), DEFAULT_MAX_STREAM_BYTES)
        try:
            events = file.read(key_of(*place).stream, 0, 1_000_000)
        finally:
            file.close()
        return {event.data["text"]: event.at for event in events if event.kind == "token"}


@asynccontextmanager
async def stand(folder: Path) -> AsyncGenerator[Stand]:
    """``open`` and ``gated`` are tenants of the example's own policy, whose articles pass as they are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))
    passing = {"personal_data": {kind: "pass" for kind in KINDS if kind != "iban"}}
    changes: dict[str, Any] = {
        "tenants": {"open": {"stream": "open"}, "gated": {"stream": "gated"}},
        "policies": {"default": {"output": passing}},
    }
    config = str(write_settings(folder, changes))
    async with (
        child("benchmarks.stream_children", "gateway", config) as gateway,
        child("benchmarks.stream_children", "writer", config) as writer,
    ):
        yield Stand(gateway, writer)


@dataclass(slots=True)
class Run:
    """Of one flow: milliseconds of each token, tokens that never came, and how far the writer was behind."""

    milliseconds: list[float] = field(default_factory=list[float])
    lost: int = 0
    behind_ms: float = 0.0
    cpu_share: float = 0.0


async def late(stood: Stand, streams: Sequence[int], tokens: int, per_second: float, runs: int) -> list[dict[str, Any]]:
    """A row a number of streams and a transport. The transports take turns."""
    await _flow(stood, TRANSPORTS[0], 2, 5, per_second)  # warm: imports, the log's first reading
    rows: list[dict[str, Any]] = []
    for number in streams:
        measured: dict[str, list[Run]] = {transport: [] for transport in TRANSPORTS}
        for _ in range(runs):
            for transport in TRANSPORTS:
                measured[transport].append(await _flow(stood, transport, number, tokens, per_second))
        rows += [{"transport": name, "streams": number, **_figures(each)} for name, each in measured.items()]
    return rows


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "tokens": sum(len(run.milliseconds) for run in runs),
        "lost": sum(run.lost for run in runs),
        "p50_ms": spread([percentile(run.milliseconds, 50) for run in runs], 1),
        "p95_ms": spread([percentile(run.milliseconds, 95) for run in runs], 1),
        "gateway_cpu": spread([run.cpu_share for run in runs]),
        "writer_behind_ms": spread([run.behind_ms for run in runs], 1),
    }


async def _flow(stood: Stand, transport: str, number: int, tokens: int, per_second: float) -> Run:
    places = places_for(number)
    await stood.writer.do(do="begin", places=places)
    readers = await reading(stood, transport, places)
    run = await _write(stood, places, tokens, per_second)
    await finish(stood, places, readers)
    _count(run, stood, places, readers)
    return run


async def _write(stood: Stand, places: Sequence[Sequence[str]], tokens: int, per_second: float) -> Run:
    """Each turn gets so many tokens."""
    texts = [[f"<{index}>" for index in range(tokens)]] * len(places)
    before = stood.cpu()
    wrote = await stood.writer.do(do="flow", places=places, texts=texts, per_second=per_second)
    share = (stood.cpu() - before) / wrote["seconds"]
    return Run(behind_ms=1000 * wrote["late"], cpu_share=share)


def _count(run: Run, stood: Stand, places: Sequence[Sequence[str]], readers: Sequence[Reader]) -> None:
    for place, reader in zip(places, readers, strict=True):
        came = {match[0].decode(): at for match, at in reader.matches(rb"<\d+>")}
        for text, at in stood.logged(place).items():
            if text in came:
                run.milliseconds.append(1000 * (came[text] - at))
            else:
                run.lost += 1


def places_for(number: int, tenant: str = TENANT) -> list[list[str]]:
    return [[f"conv-{next(_names)}", tenant] for _ in range(number)]


async def reading(stood: Stand, transport: str, places: Sequence[Sequence[str]]) -> list[Reader]:
    """One a place; each has had its first bytes."""
    readers = [await read_from(stood.port, transport, *place) for place in places]
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(reader.begun.wait() for reader in readers))
    return readers


async def finish(stood: Stand, places: Sequence[Sequence[str]], readers: Sequence[Reader]) -> int:
    """The turns end. Gives how many readers were not told."""
    await stood.writer.do(do="finish", places=places)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(reader.ended.wait() for reader in readers))
    return sum(not reader.ended.is_set() for reader in readers)


async def held(folder: Path, transport: str, idle: int, flowing: int, tokens: int, per_second: float) -> dict[str, Any]:
    """``idle`` streams of whose turns nothing comes, and ``flowing`` ones beside them, on a gateway of their own."""
    async with stand(folder) as stood:
        await _flow(stood, transport, 2, 5, per_second)  # warm
        before, quiet = stood.kib(), places_for(idle)
        await stood.writer.do(do="begin", places=quiet)
        waiting = await reading(stood, transport, quiet)
        with_idle, busy = stood.kib(), places_for(flowing)
        await stood.writer.do(do="begin", places=busy)
        readers = await reading(stood, transport, busy)
        with_all = stood.kib()
        run = await _write(stood, busy, tokens, per_second)
        after = stood.kib()
        untold = await finish(stood, [*quiet, *busy], [*waiting, *readers])
        _count(run, stood, busy, readers)
    return {
        "transport": transport,
        "idle": idle,
        "flowing": flowing,
        "tokens": len(run.milliseconds) + run.lost,
        "lost": run.lost,
        "ends_lost": untold,
        "p50_ms": round(percentile(run.milliseconds, 50), 1),
        "p95_ms": round(percentile(run.milliseconds, 95), 1),
        "kib_an_idle_stream": round((with_idle - before) / idle, 1),
        "kib_a_flowing_stream": round((after - with_idle) / flowing, 1),
        "mib": {"before": round(before / 1024, 1), "open": round(with_all / 1024, 1), "after": round(after / 1024, 1)},
        "gateway_cpu": round(run.cpu_share, 2),
        "writer_behind_ms": round(run.behind_ms, 1),
    }
