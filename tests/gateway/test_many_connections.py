"""Connections that are opened and left, HTTP/2 streams that are reset: the gateway answers on, and does not grow."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated
from h2.exceptions import H2Error

from tests.gateway.test_serve import config as config
from tests.gateway.test_serve import running

MEBIBYTE = 1 << 20
FLAT = 24 * MEBIBYTE
"""A round more or less may leave so much behind: what an allocator keeps back, not what a connection holds."""
SECONDS = 60
HEAD = b"POST /v1/chat HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
A_CONNECTION = 50
"""Streams that are opened and reset on one; a server may end it before."""


@contextmanager
def many_files() -> Iterator[int]:
    """How many this process may have open, after asking for as many as it is given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard if hard != resource.RLIM_INFINITY else 1 << 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Gateway:
    """A gateway in a process of its own."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._process = psutil.Process(pid)

    def bytes(self) -> int:
        return self._process.memory_info().rss

    async def answers(self) -> float:
        """Seconds that it took."""
        started = time.perf_counter()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=SECONDS) as client:
            assert (await client.get("/healthz")).status_code == 200
        return time.perf_counter() - started

    async def left_by_all(self, files: int) -> None:
        """Until it has no more files open than before; of that nothing tells."""
        async with asyncio.timeout(SECONDS):
            while self._process.num_fds() > files + 5:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def files(self) -> int:
        return self._process.num_fds()


@pytest.fixture
async def gateway(config: Callable[..., Path], repository: Path) -> AsyncIterator[Gateway]:
    async with running(config(), repository) as (process, ready):
        there = Gateway(ready["port"], process.pid)
        reading = asyncio.create_task(_read(process.stdout))
        await there.answers()
        yield there
        reading.cancel()
        await asyncio.wait({reading})


async def _read(log: asyncio.StreamReader | None) -> None:
    """So that the gateway is not held up by what it says."""
    while log is not None and await log.read(65536):
        pass


@asynccontextmanager
async def opened(gateway: Gateway, count: int) -> AsyncIterator[None]:
    """So many connections; every other one says half a message."""
    sockets: list[socket.socket] = []
    try:
        for index in range(count):
            sockets.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=SECONDS))
            if index % 2:
                sockets[-1].sendall(HEAD)
        yield
    finally:
        for one in sockets:
            one.close()


@pytest.mark.parametrize("most", [1_000, pytest.param(10_000, marks=pytest.mark.full)])
async def test_connections_are_opened_and_left(gateway: Gateway, most: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Meanwhile it answers at once, and each costs a few KiB; more rounds leave behind what one does."""
    with many_files() as files:
        count = min(most, files - 1000)
        if count < most:
            with capsys.disabled():
                print(f"{count} connections and not {most}: this machine lets a process have {files} files")  # noqa: T201
        before, own, after = gateway.bytes(), gateway.files(), list[int]()
        for _ in range(5):
            async with opened(gateway, count):
                assert await gateway.answers() < 10
                each = (gateway.bytes() - before) / count
                assert each < 32 * 1024, f"{each:.0f} bytes for each of {count}"
            await gateway.left_by_all(own)
            after.append(gateway.bytes())
    # what a connection held would grow with each round; what the allocator keeps goes up and down
    assert min(after[1:]) - after[0] < FLAT, [one // MEBIBYTE for one in (before, *after)]


async def reset_streams(port: int, wanted: int) -> int:
    """Opens streams and resets each at once, on one connection, until so many are or the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    head = [(":method", "POST"), (":path", "/v1/chat"), (":scheme", "http"), (":authority", "gateway")]
    done = 0
    with suppress(ConnectionError, H2Error):
        while done < wanted:
            stream = connection.get_next_available_stream_id()
            connection.send_headers(stream, [*head, ("content-type", "application/json")])
            connection.send_data(stream, b"{")
            connection.reset_stream(stream, ErrorCodes.CANCEL)
            writer.write(connection.data_to_send())
            await writer.drain()
            done += 1
            if _ended(connection, await _there(reader)):
                break
    writer.close()
    return done


async def _there(reader: asyncio.StreamReader) -> bytes | None:
    """What has come; ``None`` at the end."""
    with suppress(TimeoutError):
        return await asyncio.wait_for(reader.read(65536), 0.001) or None
    return b""


def _ended(connection: H2Connection, came: bytes | None) -> bool:
    return came is None or any(isinstance(event, ConnectionTerminated) for event in connection.receive_data(came))


@pytest.mark.parametrize("wanted", [500, pytest.param(10_000, marks=pytest.mark.full)])
async def test_streams_are_opened_and_reset(gateway: Gateway, wanted: int) -> None:
    """As in the attack of that name, in the middle of a body: nothing of them is left."""
    own, after = gateway.files(), list[int]()
    for _ in range(2):
        done = 0
        while done < wanted:
            done += await reset_streams(gateway.port, A_CONNECTION)
        assert await gateway.answers() < 10
        await gateway.left_by_all(own)
        after.append(gateway.bytes())
    # what a connection held would grow with each round; what the allocator keeps goes up and down
    assert min(after[1:]) - after[0] < FLAT, [one // MEBIBYTE for one in after]
