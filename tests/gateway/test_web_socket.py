"""WebSocket: many turns over one connection, each event typed and placed; what cannot be used is refused by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from gateway.app import create_app
from gateway.turn_streams import open_streams
from tests.gateway.conftest import Front, Raising, settings_on
from tests.support.scripted_steps import SAID
from tests.support.served import served

SECONDS = 20
Event = dict[str, Any]


class Talk:
    """A client; ``heard`` is every event but heartbeats."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[Event] = []

    async def send(self, message: Event | str | bytes) -> None:
        await self.connection.send(json.dumps(message) if isinstance(message, dict) else message)

    async def next(self, kind: str = "", **wanted: Any) -> Event:
        """The next event of that kind with these values."""
        async with asyncio.timeout(SECONDS):
            while True:
                event = json.loads(await self.connection.recv())
                if event["type"] == "heartbeat" and kind != "heartbeat":
                    continue
                self.heard.append(event)
                if kind in ("", event["type"]) and wanted.items() <= event.items():
                    return event

    async def refused(self, message: Event | str | bytes) -> Event:
        await self.send(message)
        return await self.next("error")

    def of(self, kind: str, **wanted: Any) -> list[Event]:
        return [event for event in self.heard if event["type"] == kind and wanted.items() <= event.items()]


@dataclass
class Socket:
    """A gateway on a real port."""

    front: Front
    port: int
    stopping: asyncio.Event

    @asynccontextmanager
    async def talk(self, path: str = "/v1/stream", **options: Any) -> AsyncIterator[Talk]:
        async with websockets.connect(f"ws://127.0.0.1:{self.port}{path}", max_size=None, **options) as connection:
            yield Talk(connection)


@asynccontextmanager
async def socket_on(front: Front, **gateway: Any) -> AsyncIterator[Socket]:
    changed = front.settings.gateway.model_copy(update=gateway)
    settings = front.settings.model_copy(update={"gateway": changed})
    stopping = asyncio.Event()
    async with (
        open_streams(settings, front.conversations.trace_url) as streams,
        served(create_app(front.conversations, settings, streams, stopping=stopping)) as port,
    ):
        yield Socket(front, port, stopping)


@pytest.fixture
async def socket(front: Front) -> AsyncIterator[Socket]:
    async with socket_on(front, come_back_seconds=0.2) as found:
        yield found


def say(content: str, **more: Any) -> Event:
    return {"type": "say", "messages": [{"role": "user", "content": content}], "tenant": "open", **more}


@pytest.mark.parametrize("path", ["/v1/stream", "/stream"])
async def test_a_message_is_answered_in_events(socket: Socket, path: str) -> None:
    """Each is placed: conversation, turn, message, and the client's own ref."""
    conversation = socket.front.new()
    async with socket.talk(path) as talk:
        await talk.send(say("How long?", conversation=conversation, message_id="m-1", ref="mine"))
        final = await talk.next("final")
    assert final["answer"] == f"{SAID} (0)"
    place = {"conversation": conversation, "turn": 1, "message_id": "m-1", "ref": "mine"}
    assert all(place.items() <= event.items() for event in talk.heard)
    ids = [event["id"] for event in talk.heard]
    assert ids == sorted(set(ids))
    assert talk.heard[0]["type"] == "accepted"
    assert "".join(event["text"] for event in talk.of("token")) == SAID


async def test_a_bare_text_is_said(socket: Socket) -> None:
    """A client that knows nothing but ``text`` holds a conversation: one for the connection."""
    async with socket.talk() as talk:
        finals: list[Event] = []
        for text in ("How long?", "Sure?"):
            await talk.send({"text": text})
            finals.append(await talk.next("final"))
    assert [final["turn"] for final in finals] == [1, 2]
    assert finals[0]["conversation"] == finals[1]["conversation"]
    assert "".join(event["text"] for event in talk.of("token", turn=2)) == f"{SAID} (0)"


async def test_several_turns_flow_at_once(socket: Socket) -> None:
    async with socket.talk() as talk:
        await talk.send(say("A slow one.", ref="slow", conversation=socket.front.new()))
        await socket.front.steps.running.wait()
        await talk.send(say("How long?", ref="quick"))
        await talk.next("final", ref="quick")
        socket.front.steps.release.set()
        final = await talk.next("final", ref="slow")
    assert final["verdict"] == "pass"


BAD: list[tuple[str | bytes, str, str]] = [
    (b'{"type": "ping"}', "body", "body: is a binary frame."),
    ("", "", "body: is empty."),
    ("hello", "", "body: is not JSON"),
    ("[1]", "", "body: must be a JSON object"),
    ('{"type": "ping", "type": "ping"}', "type", "type: is given twice."),
    ('{"text": "\\ud800"}', "text", "text: holds half of a surrogate pair"),
    ('{"type": "sing"}', "type", "type: there is no such message. There are: say, resume, cancel"),
    ('{"type": 7}', "type", "type: there is no such message."),
    ('{"type": "ping", "ref": 7}', "ref", "ref: must be a text"),
    ('{"text": 7}', "text", "text: must be text, but is 7."),
    ('{"text": "x", "temprature": 1}', "temprature", "temprature: no such field. Did you mean temperature?"),
    ('{"text": "x", "stream": false}', "stream", "stream: a WebSocket streams."),
    ('{"type": "say"}', "messages", "messages: is missing."),
    ('{"type": "resume"}', "conversation", "conversation: is missing."),
    ('{"type": "resume", "conversation": "c", "after": -1}', "after", "after: must be at least 0"),
    ('{"type": "resume", "conversation": "c", "tenant": "never"}', "tenant", "tenant: there is no tenant never."),
    ('{"type": "cancel", "conversation": "c", "turn": "1"}', "turn", "turn: must be a whole number"),
    ('{"type": "feedback", "conversation": "c", "turn": 1}', "score", "score: is missing."),
    ('{"type": "auth"}', "key", "key: is missing."),
]


async def test_what_cannot_be_used_is_refused_by_name(raising: Raising) -> None:
    """Before anything is asked of Temporal; the connection goes on."""
    app = create_app(raising, settings_on("nowhere"), None)  # type: ignore[arg-type]
    async with served(app) as port, websockets.connect(f"ws://127.0.0.1:{port}/v1/stream") as connection:
        talk = Talk(connection)
        for sent, field, detail in BAD:
            told = await talk.refused(sent)
            assert (told.get("field", ""), told["detail"][: len(detail)]) == (field, detail), sent
            assert told["problem"] in ("/docs#malformed-body", "/docs#invalid-request", "/docs#unknown-tenant")
        told = await talk.refused('{"type": "say", "ref": "r", "messages": [], "seed": -1}')
        assert (told["ref"], told["about"]) == ("r", "say")
        assert [error["field"] for error in told["errors"]] == ["messages", "seed"]
        await talk.send({"type": "ping", "ref": "still"})
        assert await talk.next() == {"type": "pong", "ref": "still"}
