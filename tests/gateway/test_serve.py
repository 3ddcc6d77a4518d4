"""The gateway as a process of its own: it says where it listens, names who is in its way, and stops cleanly."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment

from settings.ports import check_free
from settings.schema import SERVICES
from tests.gateway.conftest import QUESTION
from tests.support.scripted_steps import ScriptedSteps, scripted_worker

# os._exit: threads of Temporal's bridge may crash an interpreter that goes down with them (see cli/)
MAIN = """
import asyncio, os, sys, structlog
structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()])
from gateway.serve import serve
from settings.load import load
try:
    asyncio.run(serve(load(sys.argv[1]), wait_seconds=0))
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(2)
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def config(tmp_path: Path, temporal: WorkflowEnvironment) -> Callable[..., Path]:
    def write(port: int = 0, address: str | None = None) -> Path:
        path = tmp_path / "temporal.yaml"
        address = address or temporal.client.service_client.config.target_host
        path.write_text(
            f"temporal: {{address: '{address}'}}\n"
            f"gateway: {{port: {port}}}\n"
            f"pools: {{all: {{serves: [{', '.join(SERVICES)}], task_queue: {tmp_path.name}}}}}\n"
        )
        return path

    return write


async def _start(config: Path, repository: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MAIN,
        str(config),
        cwd=repository,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(config: Path, repository: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The process and its line "gateway ready"."""
    process = await _start(config, repository)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            assert process.stderr is not None
            raise AssertionError((await process.stderr.read()).decode())
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_it_starts_serves_and_stops(
    config: Callable[..., Path], repository: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Port 0 takes a free one and tells it; a signal ends the process with 0, and the port and the file are gone."""
    async with running(config(), repository) as (process, ready), httpx.AsyncClient() as client:
        assert ready["event"] == "gateway ready"
        told = json.loads((tmp_path / "var/run/gateway.json").read_text())
        assert told == {name: ready[name] for name in ("pid", "host", "port", "url")}
        assert told["pid"] == process.pid
        assert (await client.get(f"{told['url']}/healthz")).json() == {"status": "ok"}
        metrics = (await client.get(f"{told['url']}/metrics")).text
        assert "parley_gateway_requests_total" in metrics
        assert "temporal_" in metrics
        process.send_signal(number)  # while the client keeps its connection open
        assert await asyncio.wait_for(process.wait(), 15) == 0
    check_free("127.0.0.1", ready["port"], "gateway.port")
    assert not (tmp_path / "var/run/gateway.json").exists()


async def test_it_stops_while_a_question_waits(
    config: Callable[..., Path], repository: Path, tmp_path: Path, temporal: WorkflowEnvironment
) -> None:
    """The caller is told to come back, the process ends with 0, and the next gateway gives the answer."""
    steps = ScriptedSteps(tmp_path.name)
    body = {"messages": [{"role": "user", "content": "slow?"}], "message_id": "m1"}
    async with scripted_worker(temporal.client, steps), httpx.AsyncClient(timeout=30) as client:
        async with running(config(), repository) as (process, ready):
            asking = asyncio.create_task(client.post(f"{ready['url']}/v1/chat", json=body))
            await asyncio.wait_for(steps.running.wait(), 20)
            process.terminate()
            stopped = await asking
            assert await asyncio.wait_for(process.wait(), 15) == 0
        assert (stopped.status_code, "m1" in stopped.json()["detail"]) == (503, True)
        steps.release.set()
        async with running(config(), repository) as (_, ready):
            answered = await client.post(f"{ready['url']}/v1/chat", json=body)
    assert (answered.status_code, answered.json()["state"]) == (200, "done")
    assert [row.address for row in steps.rows.values()] == ["127.0.0.1"]


async def test_a_busy_port_is_named(config: Callable[..., Path], repository: Path) -> None:
    """A second gateway on the same port says who has it, and does not share it."""
    async with running(config(), repository) as (first, ready):
        second = await _start(config(ready["port"]), repository)
        out, error = await asyncio.wait_for(second.communicate(), 60)
    assert second.returncode == 2
    assert out == b""
    told = error.decode()
    assert f"SettingsFault: port {ready['port']} is taken by pid {first.pid} (" in told
    assert told.strip().endswith("Stop it or set gateway.port.")


async def test_without_temporal_it_says_so(config: Callable[..., Path], repository: Path) -> None:
    """One line names the address and the way out."""
    process = await _start(config(address="127.0.0.1:9"), repository)
    _, error = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert "ConnectionError: temporal.address: no Temporal server answers at 127.0.0.1:9." in error.decode()


async def test_a_chunked_body_over_the_bound(config: Callable[..., Path], repository: Path) -> None:
    """A client that sends three times too much hears so; one that goes on for ever is cut off; others are served."""

    async def chunks(megabytes: int) -> AsyncIterator[bytes]:
        for _ in range(megabytes):
            yield b" " * 1_000_000

    headers = {"Content-Type": "application/json"}
    async with running(config(), repository) as (_, ready), httpx.AsyncClient(base_url=ready["url"]) as client:
        response = await client.post("/v1/chat", content=chunks(3), headers=headers)
        assert response.status_code == 413
        try:
            cut_off = (await client.post("/v1/chat", content=chunks(100), headers=headers)).status_code
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            cut_off = 413  # the connection was closed before the answer could be read
        assert cut_off == 413
        assert (await client.post("/v1/chat", json={**QUESTION, "seed": -1})).status_code == 422
