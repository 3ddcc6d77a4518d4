"""Whole turns through the gateway: how soon their first token is there and where that time goes, and how many of them
a second there are beside a bare handler that calls the same workflow.

``nothing``: steps that do nothing and an engine that gives its first token at once, so that all of the time is ours
and Temporal's. ``real``: an installation as ``parley up`` starts it, with a small model; the engine's own time is taken
off.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.figures import percentile, spread
from benchmarks.rpc_bytes import HOST
from benchmarks.shapes import file_server
from benchmarks.stream_children import Child, child
from benchmarks.stream_wire import QUESTION, Reader, read_from
from dialogue.messages import TurnKey
from records.open_token_log import open_token_log
from records.token_log import TokenLog
from settings.layout import Layout
from settings.load import load
from tests.support.site import bring_up_site, write_settings

__all__ = ["PARTS", "Turns", "first_tokens", "real_turns", "throughput", "turns"]

TENANT = "default"
OPEN = {"tenants": {TENANT: {"stream": "open"}}}
PARTS = ("accepted", "steps", "engine", "client")
"""Request to the turn's first event; to the beginning of the generation; to the first token in the log; to its byte."""
SECONDS = 120
_TOKEN = rb"event: (?:token|reasoning)\ndata: .*\n"
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Turns:
    """Where turns are made. ``gateway`` and ``bare`` are None where they are not a child of ours."""

    port: int
    token_log: TokenLog
    gateway: Child | None = None
    bare: Child | None = None


@asynccontextmanager
async def turns(folder: Path) -> AsyncGenerator[Turns]:
    """Server, worker, gateway and bare handler, a process each."""
    async with await file_server(folder / "temporal.db") as environment:
        address = environment.client.service_client.config.target_host
        config = str(write_settings(folder, {"temporal": {"address": address}, **OPEN}))
        module = "benchmarks.stream_site"
        settings = load(Path(config))
        layout = Layout.of(settings)
        layout.token_log.parent.mkdir(parents=True, exist_ok=True)
        async with (
            child(module, "worker", config),
            child(module, "gateway", config) as gateway,
            child(module, "bare", config) as bare,
        ):
            token_log = open_token_log(settings.records, layout)
            try:
                yield Turns(gateway.told["port"], token_log, gateway, bare)
            finally:
                await token_log.close()


@asynccontextmanager
async def real_turns(folder: Path) -> AsyncGenerator[Turns]:
    """A whole installation."""
    async with bring_up_site(folder, OPEN) as site:
        port = urlsplit(site.gateway_url).port
        assert port is not None
        yield Turns(port, site.token_log)


async def first_tokens(there: Turns, at_once: int, count: int) -> dict[str, Any]:
    """``at_once`` conversations that were opened before, each with ``count`` turns more, all beginning together."""
    names = [f"conv-first-{next(_numbers)}" for _ in range(at_once)]
    await asyncio.gather(*(_turn(there, name, 1) for name in names))
    times: list[dict[str, float]] = []
    for number in range(2, count + 2):
        times += await asyncio.gather(*(_turn(there, name, number) for name in names))
    whole = [sum(each.values()) for each in times]
    ours = [sum(each.values()) - each["engine"] for each in times]
    return {
        "at_once": at_once,
        "turns": len(times),
        "whole_p50_ms": round(percentile(whole, 50), 1),
        "without_engine_p50_ms": round(percentile(ours, 50), 1),
        "without_engine_p95_ms": round(percentile(ours, 95), 1),
        "parts_p50_ms": {part: round(percentile([each[part] for each in times], 50), 1) for part in PARTS},
    }


async def _turn(there: Turns, conversation: str, number: int) -> dict[str, float]:
    """Says one message, reads its stream to the end and gives the milliseconds to the first token, by part."""
    reader = await read_from(there.port, "server-sent events", conversation, TENANT, f"m-{number}")
    async with asyncio.timeout(SECONDS):
        await reader.ended.wait()
    stream = TurnKey(conversation=conversation, turn=number, tenant=TENANT).stream
    at: dict[str, float] = {}
    for event in await there.token_log.read(stream):
        at.setdefault(event.data["step"] if event.kind == "step" else event.kind, event.at)
    token = min(at[kind] for kind in ("token", "reasoning") if kind in at)
    moments = (reader.sent, at["accepted"], at["generate_answer"], token, _first(reader))
    spans = zip(PARTS, itertools.pairwise(moments), strict=True)
    return {part: 1000 * (ends - begins) for part, (begins, ends) in spans}


def _first(reader: Reader) -> float:
    return next(at for _, at in reader.matches(_TOKEN))


async def throughput(there: Turns, in_flight: Sequence[int], seconds: float, runs: int) -> list[dict[str, Any]]:
    """A row a number in flight; gateway and bare handler take turns."""
    assert there.gateway is not None
    assert there.bare is not None
    servers = {"gateway": there.gateway, "bare": there.bare}
    for each in servers.values():
        await _load(each, 2, seconds / 5)  # warm: connections, caches, imports
    rows: list[dict[str, Any]] = []
    for number in in_flight:
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for _ in range(runs):
            for name, each in servers.items():
                measured[name].append(await _load(each, number, seconds))
        beside = list(zip(measured["gateway"], measured["bare"], strict=True))
        rows.append(
            {
                "in_flight": number,
                **{f"{name}_per_second": spread([rate for rate, _ in each], 1) for name, each in measured.items()},
                **{f"{name}_cpu_ms": spread([cpu for _, cpu in each], 1) for name, each in measured.items()},
                "to_bare": spread([ours[0] / theirs[0] for ours, theirs in beside]),
            }
        )
    return rows


async def _load(server: Child, in_flight: int, seconds: float) -> tuple[float, float]:
    """Answers a second, and CPU milliseconds of the server's process an answer. Each client asks at least once."""
    answered = 0

    async def ask(client: httpx.AsyncClient, until: float) -> None:
        nonlocal answered
        while True:
            said = await client.post("/v1/chat", json={"messages": [{"role": "user", "content": QUESTION}]})
            said.raise_for_status()
            answered += 1
            if time.perf_counter() > until:
                return

    async with httpx.AsyncClient(base_url=f"http://{HOST}:{server.told['port']}", timeout=SECONDS) as client:
        began, before = time.perf_counter(), _cpu(server)
        await asyncio.gather(*(ask(client, began + seconds) for _ in range(in_flight)))
        spent = time.perf_counter() - began
    return answered / spent, 1000 * (_cpu(server) - before) / answered


def _cpu(server: Child) -> float:
    times = psutil.Process(server.pid).cpu_times()
    return times.user + times.system
