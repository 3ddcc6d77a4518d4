"""A real nginx before the gateway, as docs/edge.md writes it: nothing waits in it, and nothing is lost there."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
import yaml

from gateway.app import create_app
from gateway.proto.parley.v1 import dialogue_pb2 as wire
from gateway.turn_streams import open_streams
from tests.docs.pages import ROOT, blocks, counterpart
from tests.gateway.conftest import Front
from tests.gateway.test_rpc import said
from tests.gateway.test_rpc_served import frames, streamed
from tests.gateway.transports.driver import Driver
from tests.gateway.transports.rest_driver import RestDriver
from tests.gateway.transports.socket_driver import SocketDriver
from tests.support.nginx_server import nginx_server
from tests.support.scripted_steps import SAID
from tests.support.served import served

SECONDS = 30
HEARTBEAT_SECONDS = 0.1
NEARLY_AT_ONCE = 0.15
"""Seconds that nginx may add to a first token."""
PAGE = ROOT / "docs" / "edge.md"
BEAT = ""
"""Read where the stream said that it lives."""


def documented(page: Path, language: str) -> str:
    (found,) = [block.text for block in blocks(page) if block.language == language]
    return found


@dataclass
class Behind:
    """``ports`` of the gateway: ``direct``, and ``proxied`` behind nginx."""

    front: Front
    direct: int
    proxied: int


@asynccontextmanager
async def behind(front: Front, **gateway: Any) -> AsyncIterator[Behind]:
    changed = {"heartbeat_seconds": HEARTBEAT_SECONDS, "come_back_seconds": 0, **gateway}
    settings = front.settings.model_copy(update={"gateway": front.settings.gateway.model_copy(update=changed)})
    async with AsyncExitStack() as stack:
        streams = await stack.enter_async_context(open_streams(settings, front.conversations.trace_url))
        app = create_app(front.conversations, settings, streams)
        port = await stack.enter_async_context(served(app))
        yield Behind(
            front, port, await stack.enter_async_context(nginx_server(documented(PAGE, "nginx"), gateway=port))
        )


@pytest.fixture
async def site(front: Front) -> AsyncIterator[Behind]:
    async with behind(front) as found:
        yield found


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def plain(port: int, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url(port), trust_env=False, timeout=SECONDS, **options)


# the words of an answer, over each transport -----------------------------------------------------------

Words = Callable[[int, str], AsyncGenerator[str, None]]


async def events(port: int, content: str) -> AsyncGenerator[str, None]:
    body = {"messages": [{"role": "user", "content": content}], "tenant": "open", "stream": True}
    async with plain(port) as client, client.stream("POST", "/v1/chat", json=body) as response:
        kind = ""
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                yield BEAT
            elif name == "event":
                kind = value
            elif (name, kind) == ("data", "token"):
                yield json.loads(value)["text"]


async def calls(port: int, content: str) -> AsyncGenerator[str, None]:
    async with plain(port) as client, streamed(client, said(content, tenant="open")) as response:
        async for flags, message in frames(response):
            event = wire.Event.FromString(b"" if flags else message)
            if event.WhichOneof("kind") == "token":
                yield event.token.text
            elif not flags and event.WhichOneof("kind") is None:
                yield BEAT


async def frames_of_a_socket(port: int, content: str) -> AsyncGenerator[str, None]:
    """Asked by a page of the same origin, as a browser sends it."""
    address = f"ws://127.0.0.1:{port}/v1/stream"
    async with websockets.connect(address, origin=url(port), proxy=None) as connection:  # type: ignore[arg-type]
        await connection.send(json.dumps({"text": content, "type": "say", "tenant": "open"}))
        async for frame in connection:
            event = json.loads(frame)
            if event["type"] == "heartbeat":
                yield BEAT
            elif event["type"] == "token":
                yield event["text"]
            elif event["type"] == "final":
                return


TRANSPORTS: dict[str, Words] = {"sse": events, "grpc-web": calls, "web-socket": frames_of_a_socket}


@pytest.mark.parametrize("words", TRANSPORTS.values(), ids=TRANSPORTS.keys())
async def test_a_stream_comes_as_it_is_made(site: Behind, words: Words) -> None:
    """The first word is there before the second is made, and so are the signs of life behind it."""
    heard: list[str] = []
    before: list[str] = []
    async with asyncio.timeout(SECONDS), aclosing(words(site.proxied, "A slow one.")) as reading:
        async for word in reading:
            if word != BEAT:
                heard.append(word)
            elif heard and not before:
                before = list(heard)
                site.front.steps.release.set()
    assert before == ["You "]
    assert "".join(heard) == SAID


@pytest.mark.parametrize("words", [events, calls])
async def test_the_first_token_comes_nearly_as_soon(site: Behind, words: Words) -> None:
    """Half of several, beside as many without nginx, in turn."""
    taken: dict[int, list[float]] = {site.direct: [], site.proxied: []}
    clock = asyncio.get_running_loop().time
    for port in [site.direct, site.proxied] * 7:
        started, first = clock(), None
        async with asyncio.timeout(SECONDS), aclosing(words(port, "How long?")) as reading:
            async for word in reading:
                if first is None and word != BEAT:
                    first = clock()
        assert first is not None
        taken[port].append(first - started)
    direct, proxied = (statistics.median(seconds) for seconds in taken.values())
    assert proxied - direct < NEARLY_AT_ONCE


# buffering -------------------------------------------------------------------------------------------


async def test_the_header_is_honoured(site: Behind) -> None:
    """nginx takes it for itself and passes the others on."""
    body = {"messages": [{"role": "user", "content": "How long?"}], "stream": True}
    headers = []
    for port in (site.direct, site.proxied):
        async with plain(port) as client:
            headers.append((await client.post("/v1/chat", json=body)).headers)
    assert [each.get("x-accel-buffering") for each in headers] == ["no", None]
    assert headers[0]["cache-control"] == headers[1]["cache-control"] == "no-store, no-transform"


# who is at the other end -----------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [RestDriver, SocketDriver])
async def test_a_reader_who_leaves(site: Behind, transport: type[Driver]) -> None:
    """The gateway hears of it, and the turn is cancelled where the message asked for that."""
    asked = {"conversation": site.front.new(), "message_id": "m-1", "tenant": "open", "on_disconnect": "cancel"}
    async with aclosing(transport(site.proxied).streamed("A slow one.", **asked)) as reading:
        async for got in reading:
            if got.kind == "token":
                break
    settled = site.front.conversations.settled(asked["conversation"], "m-1", "open")
    assert (await asyncio.wait_for(settled, SECONDS)).verdict == "cancelled"


async def test_a_caller_of_the_whole_answer_who_leaves(site: Behind) -> None:
    asked = {"conversation": site.front.new(), "message_id": "m-1", "on_disconnect": "cancel"}
    asking = asyncio.create_task(RestDriver(site.proxied).whole("A slow one.", **asked))
    await asyncio.wait_for(site.front.steps.running.wait(), SECONDS)
    asking.cancel()
    settled = site.front.conversations.settled(asked["conversation"], "m-1", "default")
    assert (await asyncio.wait_for(settled, SECONDS)).verdict == "cancelled"


async def test_a_page_of_another_site_stays_out(site: Behind) -> None:
    """nginx passes on which host was asked for, and the gateway compares."""
    address = f"ws://127.0.0.1:{site.proxied}/v1/stream"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(address, origin="http://shop.example", proxy=None)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("trusts", [True, False])
async def test_whose_address_is_kept(front: Front, trusts: bool) -> None:
    """The user's where nginx is trusted, nginx's where it is not, and never what the user wrote."""
    trusted = yaml.safe_load(documented(PAGE, "yaml"))["gateway"]["trusted_proxies"]
    conversation = front.new()
    body = {"messages": [{"role": "user", "content": "How long?"}], "conversation": conversation}
    async with behind(front, trusted_proxies=tuple(trusted) if trusts else ()) as site:
        away = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with plain(site.proxied, transport=away) as client:
            answered = await client.post("/v1/chat", json=body, headers={"X-Forwarded-For": "203.0.113.9"})
    assert answered.status_code == 200, answered.text
    assert front.steps.rows[conversation, 1].address == ("127.0.0.2" if trusts else "127.0.0.1")


def test_both_languages_have_the_same_configuration() -> None:
    chinese = PAGE.parent / "zh-CN" / PAGE.name
    assert counterpart(chinese) == PAGE
    assert all(documented(chinese, language) == documented(PAGE, language) for language in ("nginx", "yaml"))
