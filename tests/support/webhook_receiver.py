"""A receiver of webhooks on a free port, which answers as the test says and keeps what it got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Receiver", "receiver"]


@dataclass
class Receiver:
    """``answers`` are the statuses of the first requests, the last of them that of every other."""

    answers: Sequence[int]
    port: int = 0
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=parley"

    async def times(self, count: int) -> None:
        """Until it got so many requests."""
        async with asyncio.timeout(20), self.news:
            await self.news.wait_for(lambda: len(self.got) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        status = self.answers[min(len(self.got), len(self.answers) - 1)]
        answer = f"HTTP/1.1 {status} So\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(answer.encode())
        await writer.drain()
        writer.close()
        async with self.news:
            self.got.append((head[0], headers, body))
            self.news.notify_all()


@asynccontextmanager
async def receiver(*answers: int) -> AsyncIterator[Receiver]:
    found = Receiver(answers)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found
