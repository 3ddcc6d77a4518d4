"""Who gets through the middleware, and what the others are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from dialogue.faults import Unauthenticated
from gateway.access import Access, Authenticated, is_public
from gateway.caller import ANYONE, Caller
from gateway.metrics import Metrics
from gateway.observed import Observed
from records.api_keys import ApiKeys
from records.database import connect_database, migrate
from settings.schema import AccessSettings, OidcSettings, Settings
from tests.support.issuer import AUDIENCE, Issuer

PUBLIC = ["/", "/about", "/docs", "/healthz", "/readyz", "/openapi.json", "/openapi-3.0.json", "/page/main.js"]
CLOSED = [
    "/v1/chat",
    "/v1/models",
    "/metrics",
    "/pages",
    "/openapi/x.json",
    "/docs/x",
    "//",
    "/v1/openapi.json",
    "/page",
]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def keys(database: AsyncEngine) -> ApiKeys:
    return ApiKeys(database)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def settings_of(tmp_path: Path | None = None, **access: Any) -> Settings:
    return Settings(data=tmp_path or Path("var"), access=AccessSettings(**access))


@pytest.fixture
async def access(database: AsyncEngine) -> AsyncIterator[Access]:
    async with Access.open(settings_of(mode="keys"), database) as access:
        yield access


@pytest.fixture
async def with_issuer(database: AsyncEngine, issuer: Issuer) -> AsyncIterator[Access]:
    oidc = OidcSettings(issuer=issuer.url, audience=AUDIENCE)
    async with Access.open(settings_of(mode="keys", oidc=oidc), database) as access:
        yield access


def app_of(access: Access) -> Starlette:
    """One endpoint for everything, which tells its caller."""

    async def tell(request: Request) -> Response:
        return JSONResponse(_told(request.state.caller))

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        caller = socket.state.caller
        if caller is None:
            try:
                caller = await access.caller_of_key((await socket.receive_json())["key"])
            except Unauthenticated as fault:
                await socket.send_json({"type": "error", "status": fault.status})
                return
        await socket.send_json(_told(caller))

    return Starlette(
        routes=[WebSocketRoute("/v1/stream", talk), Route("/{path:path}", tell, methods=["GET", "POST", "OPTIONS"])],
        middleware=[Middleware(Observed, Metrics(CollectorRegistry(), None)), Middleware(Authenticated, access)],
    )


def _told(caller: Caller | None) -> Any:
    return caller and [caller.tenant, caller.user, sorted(caller.scopes), caller.how]


@asynccontextmanager
async def asking(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_of(access))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        yield http


async def test_an_open_gateway_asks_for_nothing(tmp_path: Path) -> None:
    """Nor does it open a database; whatever key is sent is not looked at."""
    async with Access.open(settings_of(tmp_path)) as access, asking(access) as http:
        for headers in ({}, {"Authorization": "Basic nonsense"}, {"X-Api-Key": "plk_x"}):
            assert (await http.get("/v1/chat", headers=headers)).json() == _told(ANYONE)
    assert not (tmp_path / "records.db").exists()


async def test_a_key_gets_in_either_way(access: Access, keys: ApiKeys) -> None:
    """As a bearer token, whatever the case of the scheme, or in a header of its own; twice the same is one."""
    key, _ = await keys.create("acme", user="ann", scopes=("chat", "review"))
    told = ["acme", "ann", ["chat", "review"], "key"]
    async with asking(access) as http:
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"authorization": f"bearer  {key}"},
            {"X-Api-Key": key},
            {"X-Api-Key": key, "Authorization": f"Bearer {key}"},
        ):
            assert (await http.get("/v1/chat", headers=headers)).json() == told


@pytest.mark.parametrize("path", PUBLIC)
async def test_what_anybody_may_read_needs_no_key(access: Access, path: str) -> None:
    """Also with one that does not hold: the page is loaded before it asks for another."""
    assert is_public(path)
    async with asking(access) as http:
        assert (await http.get(path)).status_code == 200
        assert (await http.get(path, headers={"X-Api-Key": "old"})).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
async def test_everything_else_needs_one(access: Access, path: str) -> None:
    """A path that only looks like an open one does too."""
    assert not is_public(path)
    transport = httpx.ASGITransport(app_of(access))
    async with httpx.AsyncClient(transport=transport) as http:
        refused = await http.get(f"http://gateway{path}", headers={"X-Request-Id": "caller-1"})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    body = refused.json()
    assert (body["type"], body["instance"], body["field"]) == ("/docs#unauthenticated", "caller-1", "Authorization")
    assert "Send Authorization: Bearer KEY" in body["detail"]


async def test_what_does_not_hold_gets_one_answer(access: Access, keys: ApiKeys) -> None:
    """Unknown, over and revoked read alike, and nothing of the key is repeated or logged."""
    over, _ = await keys.create("acme", days=1e-9)
    revoked, made = await keys.create("acme")
    await keys.revoke(made.id)
    unknown = f"plk_{'0' * 16}_{'a' * 43}"
    async with asking(access) as http:
        told = set()
        for wrong in (over, revoked, unknown, "", "nonsense", "a.b.c", "plk_", "x" * 100_000):
            refused = await http.get("/v1/chat", headers={"X-Api-Key": wrong})
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
            told.add(refused.json()["detail"])
    assert len(told) == 1


async def test_a_revoked_key_is_refused_at_its_next_request(access: Access, keys: ApiKeys) -> None:
    """Nothing is kept of the look-up before."""
    key, made = await keys.create("acme")
    async with asking(access) as http:
        http.headers["X-Api-Key"] = key
        assert (await http.get("/v1/chat")).status_code == 200
        await keys.revoke(made.id)
        assert (await http.get("/v1/chat")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([("Authorization", "Basic YTpi")], "must be Bearer"),
        ([("Authorization", "plk_x")], "must be Bearer"),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer b")], "several keys were sent"),
        ([("Authorization", "Bearer a"), ("X-Api-Key", "b")], "several keys were sent"),
    ],
)
async def test_headers_that_say_two_things_are_refused(
    access: Access, headers: list[tuple[str, str]], said: str
) -> None:
    """Which of two keys counts must not depend on who reads them, a proxy or this gateway."""
    async with asking(access) as http:
        refused = await http.get("/v1/chat", headers=headers)
    assert refused.status_code == 401
    assert said in refused.json()["detail"]


async def test_a_browser_may_ask_what_is_allowed(access: Access) -> None:
    """A preflight brings no key: it is answered by what knows the origins."""
    async with asking(access) as http:
        assert (await http.options("/v1/chat")).json() is None


async def test_a_database_that_fails_is_503(access: Access, database: AsyncEngine, tmp_path: Path) -> None:
    """The key may be right, so it is not 401."""
    await database.dispose()
    (tmp_path / "records.db").write_bytes(b"this was never a database" * 100)
    async with asking(access) as http:
        refused = await http.get("/v1/chat", headers={"X-Api-Key": f"plk_{'0' * 16}_{'a' * 43}"})
    assert refused.status_code == 503
    assert refused.json()["type"] == "/docs#records-unavailable"
    assert "www-authenticate" not in refused.headers


async def test_the_log_names_the_key_and_never_holds_it(
    access: Access, keys: ApiKeys, logged: list[dict[str, Any]]
) -> None:
    """By its id, as `parley keys list` shows it."""
    key, made = await keys.create("acme")
    async with asking(access) as http:
        await http.get("/v1/chat", headers={"X-Api-Key": key})
        await http.get("/v1/chat", headers={"X-Api-Key": key[:-1]})
    assert logged[0]["caller"] == made.id
    assert logged[1]["fault"] == "unauthenticated"
    assert key.split("_", 2)[2][:-1] not in str(logged)


async def test_a_gateway_makes_the_tables_it_asks(tmp_path: Path) -> None:
    """It may be up before the first worker, and before `parley keys`."""
    async with Access.open(settings_of(tmp_path / "data", mode="keys")) as access, asking(access) as http:
        refused = await http.get("/v1/chat", headers={"X-Api-Key": f"plk_{'0' * 16}_{'a' * 43}"})
    assert refused.status_code == 401


# an issuer's tokens ------------------------------------------------------------------------------


async def test_a_token_gets_in_beside_keys(with_issuer: Access, issuer: Issuer, keys: ApiKeys) -> None:
    """Its claims say tenant, user and scopes; scopes that are none of ours are passed over."""
    private = issuer.add("first")
    key, _ = await keys.create("acme")
    async with asking(with_issuer) as http:
        token = issuer.token(private, "first", scope="openid chat review")
        told = await http.get("/v1/chat", headers={"Authorization": f"Bearer {token}"})
        assert told.json() == ["acme", "ann", ["chat", "review"], "oidc"]
        assert (await http.get("/v1/chat", headers={"X-Api-Key": key})).status_code == 200
        over = await http.get("/v1/chat", headers={"X-Api-Key": issuer.token(private, "first", exp=1)})
        assert (over.status_code, over.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')


async def test_where_the_database_is_not_believed_tokens_alone_get_in(
    database: AsyncEngine, issuer: Issuer, keys: ApiKeys
) -> None:
    """A key that stands in it gets in nowhere, and it is not asked."""
    private = issuer.add("first")
    key, _ = await keys.create("acme", scopes=["codec:reviewer"])
    oidc = OidcSettings(issuer=issuer.url, audience=AUDIENCE)
    async with Access.open(settings_of(mode="tokens", oidc=oidc), database) as access, asking(access) as http:
        token = issuer.token(private, "first", scope="chat")
        assert (await http.get("/v1/chat", headers={"Authorization": f"Bearer {token}"})).status_code == 200
        assert (await http.get("/v1/chat", headers={"X-Api-Key": key})).status_code == 401
        assert (await http.get("/v1/chat")).status_code == 401


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [({"scope": ["review", "x"]}, {"review"}), ({"scope": None}, set()), ({"scope": 7}, set())],
)
async def test_scopes_are_words_or_a_list(
    with_issuer: Access, issuer: Issuer, claims: dict[str, Any], scopes: set[str]
) -> None:
    """Without any, the token lets its caller do nothing."""
    caller = await with_issuer.caller_of_key(issuer.token(issuer.add("first"), "first", **claims))
    assert caller.scopes == scopes


async def test_a_token_without_a_tenant_is_no_one_s(with_issuer: Access, issuer: Issuer) -> None:
    """403: it is a good token of somebody whom this site does not know."""
    private = issuer.add("first")
    async with asking(with_issuer) as http:
        for claims in ({"tenant": None}, {"tenant": ["acme"]}, {"tenant": "no such"}, {"sub": None}, {"tenant": ""}):
            token = issuer.token(private, "first", **claims)
            refused = await http.get("/v1/chat", headers={"X-Api-Key": token})
            assert (refused.status_code, refused.json()["type"]) == (403, "/docs#forbidden")


async def test_a_user_s_name_of_any_characters_is_one_name(with_issuer: Access, issuer: Issuer) -> None:
    """As messages can hold it: always the same for the same person, another for another."""
    private = issuer.add("first")
    names = [
        (await with_issuer.caller_of_key(issuer.token(private, "first", sub=sub))).user
        for sub in ("auth0|17", "auth0|17", "auth0|18", "张三", "ann@example.com")
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert names[-1] == "ann@example.com"
    assert all(name and name.isascii() for name in names)


async def test_an_issuer_that_is_down_is_503(with_issuer: Access, issuer: Issuer) -> None:
    """And says when to come back."""
    issuer.down = True
    async with asking(with_issuer) as http:
        refused = await http.get("/v1/chat", headers={"X-Api-Key": issuer.token(issuer.add("first"), "first")})
    assert (refused.status_code, refused.json()["type"]) == (503, "/docs#issuer-unavailable")
    assert refused.headers["retry-after"]


# WebSocket ---------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[TestClient, str]]:
    """An application with a loop of its own, as the test client has, and a key for it."""
    import asyncio

    async def prepare() -> str:
        url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
        await migrate(url)
        engine = connect_database(url)
        key, _ = await ApiKeys(engine).create("acme")
        await engine.dispose()
        return key

    key = asyncio.run(prepare())
    engine = connect_database(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    access = Access(settings_of(mode="keys"), ApiKeys(engine))
    with TestClient(app_of(access)) as client:
        yield client, key
        client.portal.call(engine.dispose)  # type: ignore[union-attr]


def test_a_socket_shows_its_key_in_a_header_or_in_its_first_message(site: tuple[TestClient, str]) -> None:
    """A browser cannot set the header."""
    client, key = site
    told = ["acme", None, ["chat"], "key"]
    with client.websocket_connect("/v1/stream", headers={"Authorization": f"Bearer {key}"}) as socket:
        assert socket.receive_json() == told
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"type": "auth", "key": key})
        assert socket.receive_json() == told
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"type": "auth", "key": "wrong"})
        assert socket.receive_json() == {"type": "error", "status": 401}


def test_a_socket_with_a_wrong_header_is_not_accepted(site: tuple[TestClient, str]) -> None:
    """401 where the server can say so, else the connection is refused."""
    from starlette.testclient import WebSocketDenialResponse

    client, _ = site
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect("/v1/stream", headers={"X-Api-Key": "wrong"}),
    ):
        pass
    assert denied.value.status_code == 401


async def test_a_server_that_cannot_say_so_refuses_the_connection(access: Access) -> None:
    """Before it was accepted."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/v1/stream", "headers": [(b"x-api-key", b"wrong")], "query_string": b""}
    await Authenticated(app_of(access), access)(scope, receive, send)
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]
