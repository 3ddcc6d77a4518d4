"""WebSocket: many turns over one connection, each event typed and placed; what cannot be used is refused by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import websockets
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from gateway.access import Access
from gateway.app import create_app
from gateway.turn_streams import open_streams
from records.api_keys import ApiKey
from settings.schema import AccessSettings
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
async def socket_on(front: Front, registry: CollectorRegistry | None = None, **gateway: Any) -> AsyncIterator[Socket]:
    changed = front.settings.gateway.model_copy(update=gateway)
    settings = front.settings.model_copy(update={"gateway": changed})
    stopping = asyncio.Event()
    async with (
        open_streams(settings, front.conversations.trace_url) as streams,
        served(create_app(front.conversations, settings, streams, stopping=stopping, registry=registry)) as port,
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


async def test_too_large_a_message_ends_the_connection(socket: Socket) -> None:
    """An error says why, then code 1009: what follows such a frame was not meant for us."""
    async with socket_on(socket.front, max_body=1000) as small, small.talk() as talk:
        await talk.send({"text": "x" * 900})
        await talk.next("final")
        told = await talk.refused(json.dumps({"text": "ü" * 600}, ensure_ascii=False))
        assert told["detail"].startswith("body: has more than 1000 bytes.")
        await talk.connection.wait_closed()
        assert talk.connection.close_code == 1009


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:{port}", 101),
        ("https://shop.example", 101),
        ("https://evil.example", 403),
        ("https://shop.example.evil.example", 403),
        ("http://127.0.0.1:1", 403),
        ("null", 403),
    ],
)
async def test_a_page_of_another_site_is_not_let_in(front: Front, origin: str, status: int) -> None:
    """A browser lets any page open a WebSocket anywhere; the gateway's own pages and those of gateway.cors may."""
    async with socket_on(front, cors=("https://shop.example",)) as site:
        opening = site.talk(additional_headers={"Origin": origin.format(port=site.port)})
        if status == 101:
            async with opening as talk:
                await talk.send({"type": "ping"})
                assert (await talk.next())["type"] == "pong"
            return
        with pytest.raises(InvalidStatus) as refused:
            await opening.__aenter__()
        assert refused.value.response.status_code == status


async def test_so_many_turns_at_once(front: Front) -> None:
    """One more is refused, and taken when another has ended; what is asked of a turn is no turn."""
    async with socket_on(front, socket_turns=2) as site, site.talk() as talk:
        conversations = [front.new(), front.new()]
        for conversation in conversations:
            await talk.send(say("slow", conversation=conversation))
            await talk.next("step", conversation=conversation, step="generate_answer")
        told = await talk.refused(say("How long?", ref="third"))
        assert (told["status"], told["ref"], told["problem"]) == (429, "third", "/docs#too-many-turns")
        await talk.send({"type": "cancel", "conversation": conversations[0], "tenant": "open", "ref": "stop"})
        await talk.next("final", verdict="cancelled")
        while not talk.of("cancelled", ref="stop"):
            await talk.next()
        await talk.send(say("How long?", ref="third"))
        await talk.next("final", ref="third", verdict="pass")
        front.steps.release.set()
        await talk.next("final", conversation=conversations[1])


async def test_closing_leaves_every_turn(socket: Socket) -> None:
    """Each is cancelled where its message says so, and made all the same where not."""
    front, conversations = socket.front, [socket.front.new() for _ in range(2)]
    async with socket.talk() as talk:
        for conversation, leaving in zip(conversations, ("cancel", "continue"), strict=True):
            await talk.send(say("slow", conversation=conversation, message_id="m-1", on_disconnect=leaving))
            await talk.next("step", conversation=conversation, step="generate_answer")
    cancelled = await front.conversations.settled(conversations[0], "m-1", "open")
    front.steps.release.set()
    made = await front.conversations.settled(conversations[1], "m-1", "open")
    assert (cancelled.verdict, made.verdict) == ("cancelled", "pass")


async def test_a_gateway_that_stops_says_so(socket: Socket) -> None:
    """One error for the connection, none for its turns, which go on: a reader resumes elsewhere."""
    conversation = socket.front.new()
    async with socket.talk() as talk:
        await talk.send(say("slow", conversation=conversation, message_id="m-1", on_disconnect="cancel"))
        await talk.next("token")
        socket.stopping.set()
        told = await talk.next("error")
        assert (told["status"], "conversation" in told) == (503, False)
        await talk.connection.wait_closed()
        assert talk.connection.close_code == 1012
    socket.front.steps.release.set()
    assert (await socket.front.conversations.settled(conversation, "m-1", "open")).verdict == "pass"


async def test_silence_is_broken_by_a_heartbeat(front: Front) -> None:
    async with socket_on(front, heartbeat_seconds=0.1) as site, site.talk() as talk:
        assert await talk.next("heartbeat") == {"type": "heartbeat"}
        await (await talk.connection.ping())


async def test_a_reader_who_takes_nothing_is_dropped(raising: Raising) -> None:
    """The server's send waits while its buffers are full; it is waited for only so long."""
    app = create_app(raising, settings_on("nowhere", reader_seconds=0.05), None)  # type: ignore[arg-type]
    coming = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": '{"type": "ping"}'}])

    async def receive() -> Any:
        return next(coming, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    scope = {"type": "websocket", "path": "/stream", "headers": [], "query_string": b"", "client": None}
    await asyncio.wait_for(app(scope, receive, send), SECONDS)


async def test_a_connection_leaves_one_line_and_no_text(front: Front, logged: list[dict[str, Any]]) -> None:
    """How long, how many messages, events and turns; and the metrics say how many are open."""
    registry = CollectorRegistry()
    async with socket_on(front, registry=registry) as site, site.talk() as talk:
        await talk.send({"text": "How long, dear Parley?"})
        await talk.next("final")
        events = len(talk.heard)
        await talk.refused({"type": "sing"})
        assert registry.get_sample_value("parley_gateway_web_sockets_open") == 1
    assert registry.get_sample_value("parley_gateway_web_sockets_open") == 0
    line = next(line for line in logged if line["event"] == "web socket closed")
    told = {
        "route": "/v1/stream",
        "messages": 2,
        "turns": 1,
        "events": events,
        "fault": "invalid-request",
        "code": 1000,
    }
    assert told.items() <= line.items()
    assert "dear Parley" not in str(logged)


async def test_each_turn_leaves_a_line_of_its_own(front: Front, logged: list[dict[str, Any]]) -> None:
    """Whose it was, how it ended and in which trace, as a request over HTTP has it."""
    conversations = [front.new(), front.new()]
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    async with socket_on(front) as site, site.talk(additional_headers=trace) as talk:
        for conversation in conversations:
            await talk.send(say("How long, dear Parley?", conversation=conversation, message_id="m-1"))
            await talk.next("final", conversation=conversation)
        heard = [len([each for each in talk.heard if each["conversation"] == one]) for one in conversations]
    lines = [line for line in logged if line["event"] == "web socket turn"]
    for line, conversation, events in zip(lines, conversations, heard, strict=True):
        told = {"conversation": conversation, "workflow_id": conversation, "turn": 1, "message_id": "m-1"}
        told |= {"tenant": "open", "verdict": "pass", "events": events, "trace_id": "a" * 32}
        assert told.items() <= line.items()
        assert line["milliseconds"] > 0
        assert line["request_id"].startswith("req-")
    assert "dear Parley" not in str(logged)


async def test_a_key_may_come_in_a_message(raising: Raising) -> None:
    """Where a key is asked for and no header can be set: before it nothing is done, and with it everything, until it is
    revoked, which the connection need not be closed for."""
    held = [ApiKey("1", "acme", None, "", ("chat",), datetime.now(UTC))]

    class Keys:
        """Holds one key, whatever it reads."""

        async def find(self, key: str) -> ApiKey | None:
            return held[0] if held else None

    settings = settings_on("nowhere").model_copy(update={"access": AccessSettings(mode="keys")})
    app = create_app(raising, settings, None, access=Access(settings, Keys()))  # type: ignore[arg-type]
    async with served(app) as port, websockets.connect(f"ws://127.0.0.1:{port}/v1/stream") as connection:
        talk = Talk(connection)
        told = await talk.refused({"type": "say", "messages": [{"role": "user", "content": "How long?"}]})
        assert (told["status"], told["field"]) == (401, "key")
        told = await talk.refused("[" * 20_000)  # is not even read
        assert (told["status"], told["field"]) == (401, "key")
        await talk.send({"type": "auth", "key": "plk_1"})
        told = await talk.refused(say("How long?", tenant="never"))
        assert (told["status"], told["field"]) == (404, "tenant")
        held.clear()
        told = await talk.refused(say("How long?", tenant="acme"))
        assert (told["status"], told["problem"]) == (401, "/docs#unauthenticated")
