"""An answer that breaks once it has begun is closed, told as an error, and none of its words are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MAIN = """
import asyncio, httpx
from pathlib import Path
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse
from starlette.routing import Route
from gateway.metrics import Metrics
from gateway.observed import Observed
from gateway.serve import make_server, run_server
from settings.logs import configure_logs
from tests.support.ports import free_port
from settings.schema import LogSettings

async def breaks():
    yield b"Dear"
    raise ValueError("Ms Miller")

async def answer(request):
    return StreamingResponse(breaks())

async def main():
    app = Starlette(routes=[Route("/", answer)], middleware=[Middleware(Observed, Metrics(CollectorRegistry()))])
    port, stopping, told = free_port(), asyncio.Event(), Path("told.json")
    server = make_server(app, "127.0.0.1", port, {})
    serving = asyncio.create_task(run_server(server, "gateway", "http", "127.0.0.1", port, stopping, told))
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=9)) as client:
        try:
            await client.get(f"http://127.0.0.1:{port}/")
        except httpx.RemoteProtocolError:
            print("broken off")
    stopping.set()
    await serving

configure_logs(LogSettings(format="json"), process="gateway")
asyncio.run(main())
"""


def test_it_is_told_as_an_error_and_without_its_words(repository: Path, tmp_path: Path) -> None:
    """By our line and by the server's own, on standard error alone; the reader sees that it is no whole answer."""
    ended = subprocess.run(
        [sys.executable, "-c", MAIN],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert ended.stdout == "broken off\n"
    assert "Miller" not in ended.stderr
    lines = {line["event"]: line for line in map(json.loads, ended.stderr.splitlines())}
    request = lines["request"]
    assert (request["level"], request["status"], request["error"]) == ("error", 200, "ValueError")
    assert any("breaks" in frame for frame in request["at"])
    assert lines["Application callable raised an exception"]["level"] == "error"
