"""``/v1/chat/completions``, read as OpenAI's clients read it: deltas, and at the end what Parley says beside them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from dialogue.messages import TextFile
from tests.gateway.transports.driver import ANSWERS, Got, Refused, user_message

__all__ = ["OpenAIDriver"]


class OpenAIDriver:
    """OpenAI has no word for a place in a stream, so nothing is resumed and ids are all 0."""

    can = ANSWERS

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def whole(self, content: str, **fields: Any) -> dict[str, Any]:
        async with _client() as client:
            response = await client.post(self._url, json=_body(content, **fields))
        _raise_refused(response)
        return response.json()["parley"]

    async def streamed(self, content: str, **fields: Any) -> AsyncGenerator[Got, None]:
        body = {**_body(content, **fields), "stream": True}
        async with _client() as client, client.stream("POST", self._url, json=body) as response:
            if not response.is_success:
                await response.aread()
                _raise_refused(response)
            async for line in response.aiter_lines():
                if line == "data: [DONE]":
                    return
                if line.startswith("data: "):
                    for got in _told(json.loads(line.removeprefix("data: ")), line.encode()):
                        yield got
        raise AssertionError("the stream ended without [DONE]")

    def resumed(self, conversation: str, *, after: int = 0, **place: Any) -> AsyncGenerator[Got, None]:
        raise NotImplementedError

    async def cancel(self, conversation: str, **place: Any) -> int:
        raise NotImplementedError

    async def feedback(self, conversation: str, turn: int, score: int, **more: Any) -> None:
        raise NotImplementedError

    async def transcript(self, conversation: str, **place: Any) -> dict[str, Any]:
        raise NotImplementedError


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=30)


def _body(content: str, *, files: Sequence[TextFile] = (), **fields: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [user_message(content, files)], "metadata": fields}


def _told(chunk: dict[str, Any], raw: bytes) -> list[Got]:
    if "error" in chunk:
        raise Refused(200, chunk["error"]["message"])  # the status was sent before
    texts = [choice["delta"].get("content") for choice in chunk["choices"]]
    told = [Got(0, "token", {"text": text}, raw) for text in texts if text]
    return [*told, Got(0, "final", chunk["parley"], raw)] if "parley" in chunk else told


def _raise_refused(response: httpx.Response) -> None:
    if not response.is_success:
        raise Refused(response.status_code, response.json()["error"]["message"])
