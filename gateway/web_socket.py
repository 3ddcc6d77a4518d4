"""WebSocket ``/v1/stream`` and ``/stream``: many turns at once over one connection, typed JSON both ways.

A connection holds a few events of each turn and no more, so a reader that is slow makes the gateway wait and not grow.
Whoever closes the connection leaves every turn on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from dialogue.faults import (
    MessageTooLong,
    ParleyFault,
    RecordsUnavailable,
    TooManyTurns,
    Unauthenticated,
)
from gateway.addresses import client_address
from gateway.caller import Caller
from gateway.conversations import new_conversation_id
from gateway.core import Core, Said
from gateway.events import TurnEvent, error_event, for_log
from gateway.problems import ProblemResponse, told
from gateway.socket_messages import Auth, Cancel, Given, Message, Ping, Resume, message_of, object_of
from gateway.wire import ChatRequest, FeedbackRequest

__all__ = ["routes"]

PATHS = ("/v1/stream", "/stream")
ANYBODYS = 16 * 1024
"""Bytes of a message that are read before it is known who sends it: a key has half as many."""
CLOSE_SECONDS = 1.0
TOO_BIG = 1009
RESTARTING = 1012

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


def routes(core: Core) -> list[WebSocketRoute]:
    async def stream(websocket: WebSocket) -> None:
        if not _is_own(websocket, core):
            detail = "Origin: a page of another site may not connect. Name its origin in gateway.cors."
            await websocket.send_denial_response(
                ProblemResponse(websocket.state.request_id, 403, "Forbidden", detail, field="Origin")
            )
            return
        await websocket.accept()
        await Connection(websocket, core).serve()

    return [WebSocketRoute(path, stream) for path in PATHS]


def _is_own(websocket: WebSocket, core: Core) -> bool:
    """Whether it is no page of a foreign site: a browser opens a WebSocket to anywhere, and asks nobody before."""
    origin = websocket.headers.get("origin")
    allowed = core.settings.gateway.cors
    if origin is None or "*" in allowed or origin in allowed:
        return True
    return urlsplit(origin).netloc.lower() == websocket.headers.get("host", "").lower()


class Connection:
    """One client, from its first message to its last."""

    def __init__(self, websocket: WebSocket, core: Core) -> None:
        self._socket = websocket
        self._core = core
        self._gateway = core.settings.gateway
        self._key = core.access.shown(websocket.headers) if core.access.demanded else None
        self._own = ""
        self._turns: set[asyncio.Task[None]] = set()
        self._asked: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._sent_at = time.monotonic()
        self._broken = asyncio.Event()
        self._unforeseen: Exception | None = None
        self._noted: dict[str, Any] = websocket.state.log
        self._noted.update(messages=0, events=0, turns=0)

    async def serve(self) -> None:
        """Until the client leaves, cannot be talked to any more, or the gateway stops."""
        around = [
            asyncio.create_task(each)
            for each in (
                self._guarded(self._hear()),
                self._guarded(self._beat()),
                self._broken.wait(),
                self._core.stopping.wait(),
            )
        ]
        try:
            await asyncio.wait(around, return_when=asyncio.FIRST_COMPLETED)
            if self._core.stopping.is_set():
                await _ended(around[:1])  # the server does not close what it is still receiving from
                await self._say_goodbye()
        finally:
            await asyncio.sleep(0)  # a turn that was just said begins, so that there is something to be left
            await _ended([*around, *self._turns, *self._asked])
        if self._unforeseen is not None:
            raise self._unforeseen

    async def _say_goodbye(self) -> None:
        fault = RecordsUnavailable(
            "The gateway is stopping. Connect again, and resume or send again what you wait for."
        )
        with contextlib.suppress(WebSocketDisconnect):
            await self._send({"type": "error", **_problem(told(fault))})
            await self._socket.close(RESTARTING)

    # hearing -------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        while True:
            frame = await self._socket.receive()
            if frame["type"] == "websocket.disconnect":
                self._noted["code"] = frame.get("code")
                return
            self._noted["messages"] += 1
            size = _bytes(frame)
            if size > self._gateway.max_body:
                await self._refuse(Given(), _too_long(self._gateway.max_body))
                await self._socket.close(TOO_BIG)
                return
            await self._take(frame, size)

    async def _take(self, frame: Any, size: int) -> None:
        given = Given()
        try:
            if size > ANYBODYS:
                self._refuse_longer(await self._caller(), size)
            given = object_of(frame)
            await self._do(given, message_of(given, self._own_conversation), size)
        except ParleyFault as fault:
            await self._refuse(given, fault)

    async def _do(self, given: Given, message: Message, size: int) -> None:
        if isinstance(message, Ping):
            await self._send({"type": "pong", **given.echo})
        elif isinstance(message, Auth):
            await self._core.access.caller_of_key(message.key)
            self._key = message.key
        else:
            caller = await self._caller()
            self._refuse_longer(caller, size)
            await self._ask(given, caller, message)

    async def _ask(
        self, given: Given, caller: Caller, message: ChatRequest | Resume | Cancel | FeedbackRequest
    ) -> None:
        if isinstance(message, ChatRequest):
            self._say(given, caller, message)
        elif isinstance(message, Resume):
            self._start(self._turns, self._resume(given, caller, message))
        elif isinstance(message, Cancel):
            self._start(self._asked, self._cancel(given, caller, message))
        else:
            self._start(self._asked, self._feedback(given, caller, message))

    def _refuse_longer(self, caller: Caller, size: int) -> None:
        if size > (most := self._core.limits.max_body(caller.tenant)):
            raise _too_long(most)

    async def _caller(self) -> Caller:
        """Looked up for each message: a key that was revoked while the connection is open is refused from then on."""
        access = self._core.access
        if access.demanded and self._key is None:
            raise Unauthenticated('key: this site asks for one. Send {"type": "auth", "key": …} first.', field="key")
        return await access.caller_of_key(self._key or "")

    def _own_conversation(self) -> str:
        """Of this connection: where texts are said that name none."""
        self._own = self._own or new_conversation_id()
        return self._own

    # turns ---------------------------------------------------------------------------------------

    def _say(self, given: Given, caller: Caller, chat: ChatRequest) -> None:
        self._check_room(self._turns)
        address = client_address(self._socket.scope, self._gateway)
        said = self._core.say(caller, chat, address=address, opened_by="web-socket")
        self._start(self._turns, self._follow(given, said))

    async def _resume(self, given: Given, caller: Caller, message: Resume) -> None:
        try:
            asked = message.model_dump(include={"tenant", "turn", "message_id"})
            said = await self._core.resume(caller, message.conversation, **asked)
        except ParleyFault as fault:
            await self._refuse(given, fault)
        else:
            await self._follow(given, said, message.after)

    async def _follow(self, given: Given, said: Said, after: int = 0) -> None:
        self._noted["turns"] += 1
        place: dict[str, Any] = {"conversation": said.place.conversation, "message_id": said.place.message_id}
        if said.place.turn is not None:
            place["turn"] = said.place.turn
        noted: dict[str, Any] = {"events": 0}
        last, started = after, time.perf_counter()
        try:
            async with contextlib.aclosing(self._core.follow(said, after)) as events:
                async for event in events:
                    last = event.id
                    place |= {name: event.data[name] for name in ("turn", "message_id") if name in event.data}
                    noted |= for_log(event)
                    noted["events"] += 1
                    await self._tell(given, place, event)
        except ParleyFault as fault:
            noted["fault"] = fault.type
            if not self._core.stopping.is_set():  # of that the whole connection is told, and the turn goes on
                self._note(fault)
                await self._tell(given, place, error_event(last + 1, fault))
        finally:
            self._log_turn(said, {**place, **noted}, time.perf_counter() - started)

    def _log_turn(self, said: Said, noted: dict[str, Any], seconds: float) -> None:
        """A line for each, as a request over HTTP has: the connection's own comes when all of them are over."""
        trace = {"trace_id": said.spent.trace_id} if said.spent.trace_id else {}
        log.info(
            "web socket turn",
            workflow_id=said.place.conversation,
            tenant=said.tenant,
            milliseconds=round(seconds * 1000, 1),
            request_id=self._socket.state.request_id,
            **noted,
            **trace,
        )

    async def _tell(self, given: Given, place: dict[str, Any], event: TurnEvent) -> None:
        self._noted["events"] += 1
        data = _problem(event.data) if event.kind == "error" else event.data
        await self._send({"type": event.kind, "id": event.id, **place, **given.echo, **data})

    # what is asked of a turn -----------------------------------------------------------------------

    async def _cancel(self, given: Given, caller: Caller, message: Cancel) -> None:
        try:
            turn = await self._core.cancel(caller, message.conversation, message.of_turn(), message.tenant)
        except ParleyFault as fault:
            await self._refuse(given, fault)
        else:
            done = {"type": "cancelled", "conversation": message.conversation, "turn": turn}
            await self._send({**done, **given.echo})

    async def _feedback(self, given: Given, caller: Caller, message: FeedbackRequest) -> None:
        try:
            thanked = await self._core.feedback(caller, message)
        except ParleyFault as fault:
            await self._refuse(given, fault)
        else:
            await self._send({"type": "thanked", **thanked.model_dump(), **given.echo})

    # sending -------------------------------------------------------------------------------------

    def _check_room(self, tasks: set[asyncio.Task[None]]) -> None:
        limit = self._gateway.socket_turns
        if len(tasks) >= limit:
            raise TooManyTurns(f"type: {limit} are under way on this connection. Wait for one, or open another.")

    def _start(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        try:
            self._check_room(tasks)
        except TooManyTurns:
            work.close()
            raise
        task = asyncio.create_task(self._guarded(work))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """What cannot send any more ends the connection, and so does what nobody foresaw."""
        try:
            await work
        except WebSocketDisconnect:
            self._broken.set()
        except Exception as error:  # told by whoever serves the connection
            self._unforeseen = error
            self._broken.set()

    async def _refuse(self, given: Given, fault: ParleyFault) -> None:
        """Answers a message that could not be used; the turns go on."""
        self._note(fault)
        about = {"about": given.kind} if given.kind else {}
        errors = fault.details.get("errors", ())
        several = {"errors": errors} if len(errors) > 1 else {}
        await self._send({"type": "error", **about, **given.echo, **_problem(told(fault)), **several})

    def _note(self, fault: ParleyFault) -> None:
        self._noted["fault"] = fault.type
        if type(fault) is ParleyFault:  # its words are for the log alone
            self._noted["error"] = fault.message

    async def _send(self, message: dict[str, Any]) -> None:
        """Raises WebSocketDisconnect, and the connection ends, where the reader takes nothing in time."""
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        try:
            async with self._sending, asyncio.timeout(self._gateway.reader_seconds):
                await self._socket.send_text(text)
        except (TimeoutError, OSError, RuntimeError) as error:
            raise WebSocketDisconnect(code=1006) from error
        self._sent_at = time.monotonic()

    async def _beat(self) -> None:
        """Says that the connection lives whenever nothing else did for so long."""
        every = self._gateway.heartbeat_seconds
        while True:
            quiet = time.monotonic() - self._sent_at
            if quiet >= every:
                await self._send({"type": "heartbeat"})
                quiet = 0.0
            await asyncio.sleep(every - quiet)


def _problem(data: dict[str, Any]) -> dict[str, Any]:
    """``type`` is the event's own here, so the problem's stands under ``problem``."""
    return {"problem": data["type"], **{name: value for name, value in data.items() if name != "type"}}


def _too_long(most: int) -> MessageTooLong:
    return MessageTooLong(f"body: has more than {most} bytes. Send less, or set gateway.max_body.")


def _bytes(frame: Any) -> int:
    text = frame.get("text")
    return len(frame.get("bytes") or b"") if text is None else len(text.encode("utf-8", "surrogatepass"))


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
