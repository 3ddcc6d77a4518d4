"""WebSocket, a connection for each thing that is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import websockets

from dialogue.messages import TextFile
from tests.gateway.transports.driver import EVENTS, Got, Refused, user_message

__all__ = ["SocketDriver"]


class SocketDriver:
    can = EVENTS

    def __init__(self, port: int) -> None:
        self._url = f"ws://127.0.0.1:{port}/v1/stream"

    async def whole(self, content: str, **fields: Any) -> dict[str, Any]:
        async with aclosing(self.streamed(content, **fields)) as events:
            return [got async for got in events][-1].data

    async def streamed(
        self, content: str, *, files: Sequence[TextFile] = (), **fields: Any
    ) -> AsyncGenerator[Got, None]:
        message = {"type": "say", "messages": [user_message(content, files)], **fields}
        async for got in self._events(message):
            yield got

    async def resumed(self, conversation: str, *, after: int = 0, **place: Any) -> AsyncGenerator[Got, None]:
        async for got in self._events({"type": "resume", "conversation": conversation, "after": after, **place}):
            yield got

    async def cancel(self, conversation: str, **place: Any) -> int:
        return (await self._answered({"type": "cancel", "conversation": conversation, **place}))["turn"]

    async def feedback(self, conversation: str, turn: int, score: int, **more: Any) -> None:
        judged = {"type": "feedback", "conversation": conversation, "turn": turn, "score": score, **more}
        await self._answered(judged)

    async def transcript(self, conversation: str, **place: Any) -> dict[str, Any]:
        raise NotImplementedError

    async def _answered(self, message: dict[str, Any]) -> dict[str, Any]:
        async with aclosing(self._events(message)) as events:
            return (await anext(events)).data

    async def _events(self, message: dict[str, Any]) -> AsyncGenerator[Got, None]:
        async with websockets.connect(self._url, max_size=None, proxy=None) as connection:
            await connection.send(json.dumps(message))
            while True:
                frame = await connection.recv(decode=False)
                event = json.loads(frame)
                if event["type"] == "error":
                    raise Refused(event["status"], event["detail"])
                if event["type"] != "heartbeat":
                    yield Got(event.get("id", 0), event["type"], event, frame)
                if event["type"] in ("final", "cancelled", "thanked"):
                    return
