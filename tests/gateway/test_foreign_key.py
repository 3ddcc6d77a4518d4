"""Every route is walked with a key that does not hold, a key without the scope, and another tenant's key.

A route, method or message of which :data:`WALK` knows nothing fails the first test: whoever adds one says here what it
may tell to whom.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from temporalio.service import RPCError
from websockets.exceptions import InvalidStatus

from dialogue.faults import unknown_conversation, unknown_tenant
from gateway.access import Access
from gateway.app import create_app
from gateway.socket_messages import KINDS
from gateway.turn_streams import open_streams
from records.api_keys import ApiKeys
from records.database import connect_database
from settings.layout import Layout
from settings.schema import AccessSettings
from tests.gateway.conftest import Front
from tests.gateway.test_rpc import SERVICE, frame, frames_of
from tests.support.served import served

OWNER, FOREIGN, USER = "gated", "open", "holder-ann"
QUESTION = "A doubtful question"
"""It waits for a person, so that there is a review to decide on."""
ALL = ("chat", "review", "operate", "admin")
SECONDS = 20
STATUS = {"unauthenticated": 401, "permission_denied": 403, "not_found": 404}
Json = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One way to ask. ``CONVERSATION`` and ``DIALOGUE`` stand for the owner's, ``OTHER`` for the message that the
    dialogue came from. ``scope``: without it a key gets 403.
    ``about``: it names what is the owner's, so a foreign key gets 404. ``tenant``: where the request can name one."""

    path: str = ""
    body: Json | None = None
    scope: str = "chat"
    about: bool = True
    tenant: str | None = "query"


def public(path: str) -> tuple[Ask, ...]:
    """Anybody may read it."""
    return (Ask(path, scope="", about=False, tenant=None),)


def own(path: str, scope: str = "chat") -> tuple[Ask, ...]:
    """Tells no more than concerns the key's own tenant, and names no other."""
    return (Ask(path, scope=scope, about=False, tenant=None),)


def said(**more: Any) -> Json:
    return {"messages": [{"role": "user", "content": QUESTION}], **more}


IN_IT = said(conversation="CONVERSATION", message_id="m-1")
"""The owner's own message over again, word for word: who guesses all of it gets no answer that is there already."""
ANEW = said(conversation="CONVERSATION", message_id="m-2")
JUDGED: Json = {"conversation": "CONVERSATION", "turn": 1, "score": 1}
DECIDED: Json = {"turn": 1, "decision": "approve", "by": "rob"}
CHAT, RPC = "/v1/chat/CONVERSATION", SERVICE.rstrip("/")
COMPLETION = {"model": "default", "messages": IN_IT["messages"]}
PLACE = {"conversation": "CONVERSATION", "message_id": "m-1"}

WALK: dict[tuple[str, str], tuple[Ask, ...]] = {
    ("GET", "/"): public("/"),
    ("GET", "/page/{name}"): public("/page/main.js"),
    ("GET", "/about"): public("/about"),
    ("GET", "/docs"): public("/docs"),
    ("GET", "/openapi.json"): public("/openapi.json"),
    ("GET", "/openapi-3.0.json"): public("/openapi-3.0.json"),
    ("GET", "/healthz"): public("/healthz"),
    ("GET", "/readyz"): public("/readyz"),
    ("GET", "/metrics"): own("/metrics", "operate"),
    ("GET", "/v1/whoami"): own("/v1/whoami", ""),
    ("GET", "/v1/models"): own("/v1/models"),
    ("GET", "/v1/models/{model}"): own("/v1/models/default"),
    ("POST", "/v1/chat"): (
        *(Ask("/v1/chat", body, tenant="body") for body in (IN_IT, ANEW)),
        *(Ask("/v1/chat", {**body, "stream": True}, tenant="body") for body in (IN_IT, ANEW)),
    ),
    ("POST", "/v1/chat/completions"): (
        Ask("/v1/chat/completions", {**COMPLETION, "metadata": PLACE}, tenant="metadata"),
        Ask("/v1/chat/completions", {**COMPLETION, "metadata": PLACE, "stream": True}, tenant="metadata"),
    ),
    ("GET", "/v1/chat/{conversation}"): (Ask(CHAT), Ask(f"{CHAT}?turn=1"), Ask("/v1/chat/DIALOGUE")),
    ("DELETE", "/v1/chat/{conversation}"): (Ask(CHAT), Ask(f"{CHAT}?message_id=m-1"), Ask("/v1/chat/DIALOGUE")),
    ("GET", "/v1/chat/{conversation}/stream"): (
        Ask(f"{CHAT}/stream"),
        Ask(f"{CHAT}/stream?message_id=m-1&after=1"),
        Ask("/v1/chat/DIALOGUE/stream?turn=1"),
    ),
    ("POST", "/v1/dialogues"): (Ask("/v1/dialogues", said(message_id="OTHER"), about=False, tenant="body"),),
    ("GET", "/v1/dialogues/{dialogue}"): (Ask("/v1/dialogues/DIALOGUE"),),
    ("POST", "/v1/feedback"): (
        Ask("/v1/feedback", JUDGED, tenant="body"),
        Ask("/v1/feedback", {**JUDGED, "conversation": "DIALOGUE"}, tenant="body"),
    ),
    ("GET", "/v1/reviews"): (Ask("/v1/reviews", scope="review", about=False),),
    ("POST", "/v1/reviews/{conversation}"): (
        Ask("/v1/reviews/CONVERSATION", DECIDED, "review", tenant="body"),
        Ask("/v1/reviews/DIALOGUE", DECIDED, "review", tenant="body"),
    ),
    ("POST", f"{RPC}/Say"): (Ask(f"{RPC}/Say", IN_IT, tenant="body"), Ask(f"{RPC}/Say", ANEW, tenant="body")),
    ("POST", f"{RPC}/SayStreamed"): (Ask(f"{RPC}/SayStreamed", IN_IT, tenant="body"),),
    ("POST", f"{RPC}/Resume"): (
        Ask(f"{RPC}/Resume", PLACE, tenant="body"),
        Ask(f"{RPC}/Resume", {"conversation": "DIALOGUE", "turn": 1}, tenant="body"),
    ),
    ("POST", f"{RPC}/Transcript"): (Ask(f"{RPC}/Transcript", {"conversation": "CONVERSATION"}, tenant="body"),),
    ("POST", f"{RPC}/Cancel"): (Ask(f"{RPC}/Cancel", {"conversation": "CONVERSATION"}, tenant="body"),),
    ("POST", f"{RPC}/Feedback"): (Ask(f"{RPC}/Feedback", JUDGED, tenant="body"),),
    ("SOCKET", "say"): (Ask(body=IN_IT, tenant="body"), Ask(body=ANEW, tenant="body")),
    ("SOCKET", "resume"): (
        Ask(body=PLACE, tenant="body"),
        Ask(body={"conversation": "DIALOGUE", "turn": 1}, tenant="body"),
    ),
    ("SOCKET", "cancel"): (Ask(body={"conversation": "CONVERSATION"}, tenant="body"),),
    ("SOCKET", "feedback"): (Ask(body=JUDGED, tenant="body"),),
    ("SOCKET", "ping"): (Ask(body={}, scope="", about=False, tenant=None),),
}
SOCKETS = ("/v1/stream", "/stream")
Walked = tuple[str, Ask]


def walked() -> Iterator[Walked]:
    for (method, _), asks in WALK.items():
        for ask in asks:
            yield method, ask


OPEN = {key for key in WALK if key[0] == "GET" and not key[1].startswith(("/v1", "/metrics"))} | {("SOCKET", "ping")}
"""Where no key is asked for."""
CLOSED: list[Walked] = [(key[0], ask) for key, asks in WALK.items() if key not in OPEN for ask in asks]


@dataclass(frozen=True)
class Told:
    """What came back: ``detail`` is the refusal's, ``text`` is everything."""

    status: int
    detail: str
    text: str


@dataclass
class Held:
    """A gateway that asks for keys, and what its owner has there."""

    front: Front
    app: Starlette
    port: int
    keys: ApiKeys
    http: httpx.AsyncClient
    conversation: str = ""
    dialogue: str = ""
    other: str = field(default_factory=lambda: f"d-{uuid.uuid4().hex}")
    owner: str = ""
    wrong: dict[str, str | None] = field(default_factory=dict[str, str | None])

    async def key(self, tenant: str, *scopes: str) -> str:
        return (await self.keys.create(tenant, scopes=scopes or ALL))[0]

    def filled(self, value: Any) -> Any:
        text = json.dumps(value)
        for name in ("conversation", "dialogue", "other"):
            text = text.replace(name.upper(), getattr(self, name))
        return json.loads(text)

    def named(self, ask: Ask) -> str:
        """The owner's thing that it names."""
        return self.dialogue if "DIALOGUE" in json.dumps([ask.path, ask.body]) else self.conversation

    async def ask(self, walked: Walked, key: str | None, tenant: str | None = None) -> Told:
        method, ask = walked
        body: Json | None = self.filled(ask.body)
        query = {"tenant": tenant} if tenant and ask.tenant == "query" else {}
        if body is not None and tenant and ask.tenant in ("body", "metadata"):
            (body if ask.tenant == "body" else body["metadata"]).update(tenant=tenant)
        if method == "SOCKET":
            return await self._over_socket({"type": _type_of(walked), **(body or {})}, key)
        return await self._over_http(method, self.filled(ask.path), query, body, key)

    async def _over_http(self, method: str, path: str, query: Json, body: Json | None, key: str | None) -> Told:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        streamed = path.endswith(("/SayStreamed", "/Resume"))
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            headers["Content-Type"] = "application/connect+json" if streamed else "application/json"
        url = httpx.URL(path).copy_merge_params(query)
        sent = frame(content) if streamed and content is not None else content
        answered = await self.http.request(method, url, content=sent, headers=headers)
        if answered.headers.get("content-type") == "application/connect+json":
            end = json.loads(frames_of(answered.content)[-1][1])
            error = end.get("error", {})
            return Told(STATUS.get(error.get("code"), 200), error.get("message", ""), answered.text)
        return Told(answered.status_code, _detail(answered), answered.text)

    async def _over_socket(self, message: Json, key: str | None, path: str = SOCKETS[0]) -> Told:
        async with websockets.connect(f"ws://127.0.0.1:{self.port}{path}") as connection, asyncio.timeout(SECONDS):
            if key is not None:
                await connection.send(json.dumps({"type": "auth", "key": key}))
            await connection.send(json.dumps(message))
            while (event := json.loads(await connection.recv()))["type"] == "heartbeat":
                pass
        refused = event["type"] == "error"
        return Told(event["status"] if refused else 200, event.get("detail", ""), json.dumps(event))


def _type_of(walked: Walked) -> str:
    return next(name for (method, name), asks in WALK.items() if method == "SOCKET" and walked[1] in asks)


def _detail(answered: httpx.Response) -> str:
    if answered.status_code < 400 or answered.request.method == "HEAD":
        return ""
    told = answered.json()
    return told["error"]["message"] if "error" in told else told.get("detail") or told.get("message", "")


@pytest.fixture
async def database(front: Front) -> AsyncIterator[AsyncEngine]:
    engine = connect_database(Layout.of(front.settings).database_url("sqlite"))
    yield engine
    await engine.dispose()


@pytest.fixture
async def held(front: Front, database: AsyncEngine, tmp_path: Path) -> AsyncIterator[Held]:
    """Its owner has a conversation that waits for a person, and a dialogue."""
    settings = front.settings.model_copy(update={"access": AccessSettings(mode="keys"), "data": tmp_path})
    async with (
        open_streams(settings, front.conversations.trace_url) as streams,
        Access.open(settings) as access,
    ):
        app = create_app(front.conversations, settings, streams, access=access)
        async with (
            served(app) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as http,
        ):
            held = Held(front, app, port, ApiKeys(database), http, conversation=front.new())
            await _begin(held)
            yield held
            for name in (held.conversation, held.dialogue):  # else every later list of reviews would look at them
                with contextlib.suppress(RPCError):
                    await front.client.get_workflow_handle(name).terminate()


async def _begin(held: Held) -> None:
    held.owner, made = await held.keys.create(OWNER, user=USER, scopes=ALL)
    over, _ = await held.keys.create(OWNER, days=1e-9)
    revoked, made = await held.keys.create(OWNER, scopes=ALL)
    await held.keys.revoke(made.id)
    held.wrong = {"none": None, "over": over, "revoked": revoked, "unknown": f"plk_{'0' * 16}_{'a' * 43}"}
    authorised = {"Authorization": f"Bearer {held.owner}"}
    asked = held.filled(IN_IT)
    assert (await held.http.post("/v1/chat", json=asked, headers=authorised)).json()["state"] == "waiting"
    started = await held.http.post("/v1/dialogues", json=held.filled(said(message_id="OTHER")), headers=authorised)
    held.dialogue = started.json()["dialogue"]
    async with asyncio.timeout(SECONDS):  # Temporal's index follows a moment later
        while held.conversation not in (await held.http.get("/v1/reviews", headers=authorised)).text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_no_route_is_forgotten(held: Held) -> None:
    """Every route with every method, and every message of a WebSocket, is walked; nothing else is."""
    found: set[tuple[str, str]] = {("SOCKET", kind) for kind in KINDS if kind != "auth"}
    for route in held.app.routes:
        if isinstance(route, Route):
            found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
        else:
            assert isinstance(route, WebSocketRoute), f"{route} is a kind of route that is not walked"
            assert route.path in SOCKETS
    assert found == set(WALK)


async def test_its_owner_gets_in(held: Held) -> None:
    """Else the walk would prove nothing: no request of it is refused for what it is."""
    for each in walked():
        if each[1].body in (ANEW, {**ANEW, "stream": True}) or each[1].path == "/v1/reviews/DIALOGUE":
            continue  # the one would wait behind the review; the other's dialogue was cancelled on the way
        told = await held.ask(each, held.owner)
        assert told.status not in (401, 403), (each, told)
        assert told.detail != unknown_conversation(held.named(each[1])).message or told.status == 200, (each, told)


async def test_a_key_that_does_not_hold(held: Held) -> None:
    """401 everywhere but where anybody may read; which of them it was is not told."""
    for each in CLOSED:
        told = {name: await held.ask(each, key) for name, key in held.wrong.items()}
        assert {answer.status for answer in told.values()} == {401}, (each, told)
        assert len({told[name].detail for name in ("over", "revoked", "unknown")}) == 1, (each, told)
        assert not any(secret in answer.text for answer in told.values() for secret in (USER, OWNER)), (each, told)
    for method, path in OPEN:
        (ask,) = WALK[method, path]
        assert (await held.ask((method, ask), None)).status not in (401, 403, 404), path
    for path in SOCKETS:
        wrong = {"Authorization": f"Bearer {held.wrong['revoked']}"}
        with pytest.raises(InvalidStatus, match="401"):
            await websockets.connect(f"ws://127.0.0.1:{held.port}{path}", additional_headers=wrong)


async def test_a_head_request_needs_what_its_get_needs(held: Held) -> None:
    foreign = await held.key(FOREIGN)
    for method, ask in CLOSED:
        if method == "GET":
            assert (await held.ask(("HEAD", ask), held.wrong["revoked"])).status == 401, ask
            if ask.about:
                assert (await held.ask(("HEAD", ask), foreign)).status == 404, ask


async def test_a_key_without_the_scope(held: Held) -> None:
    """403 with the name of the scope, also for what is the key's own."""
    without = {scope: await held.key(OWNER, *(set(ALL) - {scope, "admin"})) for scope in ("chat", "review", "operate")}
    for each in CLOSED:
        if each[1].scope:
            told = await held.ask(each, without[each[1].scope])
            assert told.status == 403, (each, told)
            assert f"no scope {each[1].scope}." in told.detail, (each, told)


async def test_a_foreign_key(held: Held) -> None:
    """404 in the words for a conversation that never was, whatever else is right; no list holds anything of it."""
    foreign = await held.key(FOREIGN)
    for each in CLOSED:
        told = await held.ask(each, foreign)
        if each[1].about:
            assert (told.status, told.detail) == (404, unknown_conversation(held.named(each[1])).message), (each, told)
        else:
            assert told.status in (200, 202), (each, told)
            assert not any(name in told.text for name in (held.conversation, held.dialogue)), (each, told)
        assert not any(secret in told.text for secret in (USER, OWNER)), (each, told)
    assert {row.turn.tenant for row in held.front.steps.rows.values()} <= {OWNER, FOREIGN}
    transcript = await held.front.conversations.transcript(held.conversation, OWNER)
    assert [turn.state for turn in transcript.turns] == ["waiting"]
    assert held.front.steps.feedback == []


async def test_another_tenants_name(held: Held) -> None:
    """Reads like the name of a tenant that is not there."""
    foreign = await held.key(FOREIGN)
    for each in CLOSED:
        if each[1].tenant:
            for tenant in (OWNER, "never"):
                told = await held.ask(each, foreign, tenant)
                assert (told.status, told.detail) == (404, unknown_tenant(tenant).message), (each, told)


async def test_a_conversation_that_ended_stays_its_tenants(held: Held) -> None:
    """Nobody else opens it again under its name, nor reads what its stream still holds; its owner may."""
    conversation = held.front.new()
    asked = {"conversation": conversation, "messages": [{"role": "user", "content": "How long?"}]}
    owner = {"Authorization": f"Bearer {held.owner}"}
    first = await held.http.post("/v1/chat", json={**asked, "message_id": "m-1"}, headers=owner)
    assert first.json()["turn"] == 1
    await held.front.conversations.close(conversation, OWNER)
    await held.front.client.get_workflow_handle(conversation).result()
    foreign = {"Authorization": f"Bearer {await held.key(FOREIGN)}"}
    for message_id in ("m-1", "m-2"):
        for stream in (False, True):
            body = {**asked, "message_id": message_id, "stream": stream}
            refused = await held.http.post("/v1/chat", json=body, headers=foreign)
            assert refused.status_code == 404, refused.text
            assert refused.json()["detail"] == unknown_conversation(conversation).message
    path = f"/v1/chat/{conversation}"
    assert (await held.http.get(path, headers=foreign)).status_code == 404
    async with asyncio.timeout(SECONDS):  # the server's index of runs is a moment behind
        while (kept := await held.http.get(path, headers=owner)).status_code == 404:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [turn["turn"] for turn in kept.json()["turns"]] == [1]
    followed = await held.http.get(f"{path}/stream", params={"turn": 1}, headers=owner)
    assert f'"answer":"{first.json()["answer"]}"' in followed.text
    again = await held.http.post("/v1/chat", json={**asked, "message_id": "m-3"}, headers=owner)
    assert (again.status_code, again.json()["turn"]) == (200, 2)
