"""The chat page with a gateway behind it whose every event the test sends by hand.

It speaks the page's part of the protocol: a WebSocket on which turns are said, resumed and cancelled, and the few REST
addresses. Each turn has a log of events, so that a page that comes back reads on behind what it has. What the page sent
is in :attr:`PageServer.heard`, and waited for with :meth:`PageServer.until`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway import chat_page, pages
from tests.support.ports import free_port

__all__ = ["PageServer", "PageTurn", "page_server"]

KEY = "a-good-key"


@dataclass
class PageTurn:
    """One turn as the test tells it."""

    server: PageServer
    conversation: str
    number: int
    message_id: str
    question: str
    events: list[dict[str, Any]] = field(default_factory=list)
    state: str = "running"
    answer: str = ""
    verdict: str = "pass"

    async def send(self, kind: str, **data: Any) -> None:
        """Appends an event; every page that follows the turn gets it."""
        place = {"conversation": self.conversation, "turn": self.number, "ref": self.message_id}
        if kind == "final":
            self.state, self.answer, self.verdict = data.get("state", "done"), data["answer"], data["verdict"]
        if kind == "error":
            self.state = "done"
        async with self.server.news:
            self.events.append({**data, **place, "type": kind, "id": len(self.events) + 1})
            self.server.news.notify_all()

    async def tokens(self, *texts: str) -> None:
        for text in texts:
            await self.send("token", text=text)

    async def final(self, answer: str, *, verdict: str = "pass", state: str = "done", **data: Any) -> None:
        reply = {
            "answer": answer,
            "reasoning": "",
            "verdict": verdict,
            "state": state,
            "citations": [],
            "message_id": self.message_id,
            "language": "en",
            "intent": None,
            "confidence": None,
            "model": "scripted",
            "snapshot": None,
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "reasoning_tokens": 0, "total_tokens": 2},
            "workflow_id": self.conversation,
            "run_id": "run-1",
            "trace_url": f"http://127.0.0.1:8233/namespaces/default/workflows/{self.conversation}",
        }
        await self.send("final", **{**reply, **data})

    def summary(self) -> dict[str, Any]:
        """As the transcript tells it."""
        return {
            "turn": self.number,
            "message_id": self.message_id,
            "text_digest": "",
            "question": self.question,
            "answer": self.answer,
            "verdict": self.verdict,
            "state": self.state,
            "language": "en",
        }


@dataclass
class PageServer:
    """``url`` is where the page is. ``scopes`` and ``locked`` say who the gateway takes the visitor for."""

    url: str = ""
    scopes: tuple[str, ...] = ("chat",)
    locked: bool = False
    deaf: bool = False
    """Whether new connections are closed at once, as by a gateway that restarts."""
    mute: bool = False
    """Whether a ping is left unanswered, as by a peer that is gone without a word."""
    turns: list[PageTurn] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Paths that answer 503."""
    max_characters: int = 8000
    """Of a message's files together, as the page is told."""
    max_body: int = 1_000_000
    """Bytes of a frame; a longer one is refused unread, and the connection closed."""
    lost_logs: bool = False
    """Whether a stream cannot be resumed any more."""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    # for the test --------------------------------------------------------------------------------

    async def until(self, found: Callable[[], Any], seconds: float = 30) -> Any:
        """Waits until ``found()`` is true of what was heard and said; gives what it gave."""
        async with asyncio.timeout(seconds), self.news:
            await self.news.wait_for(found)
            return found()

    async def said(self, count: int = 1) -> PageTurn:
        """The turn of the ``count``-th message, once it came."""
        await self.until(lambda: len(self.turns) >= count)
        return self.turns[count - 1]

    async def sent(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th message of that type that the page sent."""

        def of_kind() -> list[dict[str, Any]]:
            return [message for message in self.heard if message["type"] == kind]

        await self.until(lambda: len(of_kind()) >= count)
        return of_kind()[count - 1]

    async def drop(self) -> None:
        """Closes every connection, as a proxy or a lost network does."""
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    # what the page talks to ----------------------------------------------------------------------

    def app(self) -> Starlette:
        about = pages.index_page("http://127.0.0.1:8233")

        async def about_page(_: Request) -> Response:
            return about

        return Starlette(
            routes=[
                *chat_page.routes(),
                Route("/about", about_page),
                Route("/v1/whoami", self._whoami),
                Route("/v1/feedback", self._hear_body, methods=["POST"]),
                Route("/v1/chat/{conversation}", self._transcript),
                Route("/v1/reviews", self._reviews),
                Route("/v1/reviews/{conversation}", self._hear_body, methods=["POST"]),
                WebSocketRoute("/v1/stream", self._stream),
            ]
        )

    def _knows(self, request: Request) -> bool:
        return not self.locked or request.headers.get("Authorization") == f"Bearer {KEY}"

    async def _whoami(self, request: Request) -> Response:
        if not self._knows(request):
            return _problem(401, "a key is needed")
        access = "keys" if self.locked else "open"
        who = {"tenant": "default", "tenants": ["default"], "user": None, "scopes": self.scopes, "access": access}
        bounds = {"max_files": 4, "max_characters": {"default": self.max_characters}}
        return JSONResponse({**who, **bounds, "web_ui": "http://127.0.0.1:8233", "languages": ["en", "zh"]})

    async def _transcript(self, request: Request) -> Response:
        conversation = request.path_params["conversation"]
        turns = [turn.summary() for turn in self.turns if turn.conversation == conversation]
        if not turns:
            return _problem(404, "no such conversation")
        waiting = [turn["turn"] for turn in turns if turn["state"] == "waiting"]
        shared = {"conversation": conversation, "tenant": "default", "older": 0, "closed": False}
        return JSONResponse({**shared, "turns": turns, "waiting": waiting})

    async def _reviews(self, _: Request) -> Response:
        return JSONResponse({"reviews": self.waiting})

    async def _hear_body(self, request: Request) -> Response:
        if request.url.path in self.refused:
            return _problem(503, "not now")
        await self._hear({"type": request.url.path, **await request.json()})
        return JSONResponse({})

    async def _hear(self, message: dict[str, Any]) -> None:
        async with self.news:
            self.heard.append(message)
            self.news.notify_all()

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        if self.deaf:
            await socket.close(1012)
            return
        # the server sends a close only once nobody waits for a message any more: the talk ends first
        talk = asyncio.create_task(self._talk(socket))
        self._talks.add(talk)
        await asyncio.wait({talk})
        self._talks.discard(talk)
        if not talk.cancelled():
            talk.result()
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(1012)

    async def _talk(self, socket: WebSocket) -> None:
        following: list[asyncio.Task[None]] = []
        try:
            if self.locked and (await socket.receive_json()).get("key") != KEY:
                await socket.send_json({"type": "error", "status": 401, "title": "Unauthorized", "detail": "a key"})
                return
            while True:
                frame = await socket.receive_text()
                if len(frame.encode()) > self.max_body:
                    await socket.send_json(
                        {"type": "error", "status": 413, "title": "Too long", "detail": "body: long"}
                    )
                    return
                turn, after = await self._take(json.loads(frame), socket)
                if turn is not None:
                    following.append(asyncio.create_task(self._follow(socket, turn, after)))
        except WebSocketDisconnect:
            pass
        finally:
            for task in following:
                task.cancel()

    async def _take(self, message: dict[str, Any], socket: WebSocket) -> tuple[PageTurn | None, int]:
        turn, after = None, 0
        if message["type"] == "say":
            turn = self._turn_of(message)
            if not turn.events:
                await turn.send("accepted", message_id=turn.message_id)
                self.turns.append(turn)
        elif message["type"] == "resume" and self.lost_logs:
            await socket.send_json({"type": "error", "about": "resume", "ref": message["ref"], "status": 404})
        elif message["type"] == "resume":
            number, after = message["turn"], message["after"]
            turn = next(one for one in self.turns if one.number == number)
        elif message["type"] == "ping" and not self.mute:
            await socket.send_json({"type": "pong"})
        await self._hear(message)
        return turn, after

    def _turn_of(self, message: dict[str, Any]) -> PageTurn:
        """A message id that was used before is the turn it was used for."""
        known = next((turn for turn in self.turns if turn.message_id == message["message_id"]), None)
        if known is None:
            number = 1 + sum(turn.conversation == message["conversation"] for turn in self.turns)
            content = message["messages"][-1]["content"]
            question = content if isinstance(content, str) else content[0]["text"]
            known = PageTurn(self, message["conversation"], number, message["message_id"], question)
        return known

    async def _follow(self, socket: WebSocket, turn: PageTurn, after: int) -> None:
        with suppress(RuntimeError, WebSocketDisconnect):  # the page is gone
            for place in itertools.count(after):
                async with self.news:
                    while len(turn.events) <= place:
                        await self.news.wait()
                await socket.send_json(turn.events[place])


def _problem(status: int, detail: str) -> Response:
    body = {"type": "about:blank", "title": "A problem", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


@asynccontextmanager
async def page_server() -> AsyncIterator[PageServer]:
    """Served by granian, as the gateway is, on a free port of this process's loop."""
    port = free_port()
    here = PageServer(url=f"http://127.0.0.1:{port}")
    app = here.app()
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_level=LogLevels.error)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        await _until_listening(port)
    try:
        yield here
    finally:
        await here.drop()
        server.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(serving, 10)


async def _until_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)  # the server has no event for it
            continue
        writer.close()
        return
