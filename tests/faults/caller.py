"""A well-behaved caller: it sends a message again, with the same id, until it has an answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["Caller", "Said"]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5


@dataclass(slots=True)
class Said:
    """What became of one message, the ``turn``-th of its conversation. ``answers`` are all replies to its id;
    ``again`` says why it was sent again."""

    conversation: str
    text: str
    seed: int
    turn: int = 1
    temperature: float | None = None
    answers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    again: list[str] = field(default_factory=list[str])
    answered_at: float = 0.0

    @property
    def message_id(self) -> str:
        return f"m{self.turn}"

    @property
    def stream(self) -> str:
        return f"{self.conversation}/{self.turn:04d}"

    @property
    def reply(self) -> dict[str, Any]:
        return self.answers[0]


class Caller:
    """Speaks to the gateway at ``url`` over HTTP."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(60, connect=5),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def say(self, said: Said) -> Said:
        """Until there is an answer. Raises AssertionError for an answer that sending again cannot mend."""
        pause = FIRST_PAUSE
        while True:
            why = await self._send(said)
            if why is None:
                said.answered_at = said.answered_at or time.monotonic()
                return said
            said.again.append(why)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _send(self, said: Said) -> str | None:
        """Sends it once; ``None`` when it was answered, else why it has to be sent again."""
        body: dict[str, Any] = {
            "conversation": said.conversation,
            "message_id": said.message_id,
            "seed": said.seed,
            "messages": [{"role": "user", "content": said.text}],
        }
        if said.temperature is not None:
            body["temperature"] = said.temperature
        try:
            answer = await self._client.post("/v1/chat", json=body)
        except httpx.TransportError as error:
            return type(error).__name__
        if answer.status_code == 200:
            said.answers.append(answer.json())
            return None
        assert answer.status_code == 202 or answer.status_code >= 500, answer.text
        return f"{answer.status_code} {answer.json().get('detail', '')}"
