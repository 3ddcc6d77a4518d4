"""REST and server-sent events, read as httpx reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from dialogue.messages import TextFile
from tests.gateway.transports.driver import TRANSCRIPTS, Got, Refused, user_message

__all__ = ["RestDriver"]


class RestDriver:
    can = TRANSCRIPTS

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    async def whole(self, content: str, **fields: Any) -> dict[str, Any]:
        return await self._asked("POST", "/v1/chat", json=_body(content, **fields))

    async def streamed(self, content: str, **fields: Any) -> AsyncGenerator[Got, None]:
        async for got in self._events("POST", "/v1/chat", json=_body(content, **fields, stream=True)):
            yield got

    async def resumed(self, conversation: str, *, after: int = 0, **place: Any) -> AsyncGenerator[Got, None]:
        headers = {"Last-Event-ID": str(after)}
        async for got in self._events("GET", f"/v1/chat/{conversation}/stream", params=place, headers=headers):
            yield got

    async def cancel(self, conversation: str, **place: Any) -> int:
        return (await self._asked("DELETE", f"/v1/chat/{conversation}", params=place))["turn"]

    async def feedback(self, conversation: str, turn: int, score: int, **more: Any) -> None:
        judged = {"conversation": conversation, "turn": turn, "score": score, **more}
        await self._asked("POST", "/v1/feedback", json=judged)

    async def transcript(self, conversation: str, **place: Any) -> dict[str, Any]:
        return await self._asked("GET", f"/v1/chat/{conversation}", params=place)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._url, trust_env=False, timeout=30)

    async def _asked(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        async with self._client() as client:
            response = await client.request(method, path, **sent)
        _raise_refused(response)
        return response.json()

    async def _events(self, method: str, path: str, **sent: Any) -> AsyncGenerator[Got, None]:
        async with self._client() as client, client.stream(method, path, **sent) as response:
            if not response.is_success:
                await response.aread()
                _raise_refused(response)
            block = b""
            async for chunk in response.aiter_bytes():
                *whole, block = (block + chunk).split(b"\n\n")
                for each in whole:
                    if not each.startswith(b":"):
                        yield _got(each)


def _body(content: str, *, files: Sequence[TextFile] = (), **fields: Any) -> dict[str, Any]:
    return {"messages": [user_message(content, files)], **fields}


def _raise_refused(response: httpx.Response) -> None:
    if not response.is_success:
        raise Refused(response.status_code, response.json()["detail"])


def _got(block: bytes) -> Got:
    fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
    data = json.loads(fields["data"])
    if fields["event"] == "error":
        raise Refused(data["status"], data["detail"])
    return Got(int(fields["id"]), fields["event"], data, block)
