"""Who may get in: API keys and an issuer's tokens, asked for by a middleware before any endpoint runs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from dialogue.faults import Forbidden, ParleyFault, Unauthenticated
from dialogue.messages import Identifier
from gateway.caller import ANYONE, Caller
from gateway.oidc import Oidc
from gateway.problems import on_fault
from settings.access import EVERY_SCOPE, PREFIX
from settings.layout import Layout
from settings.schema import OidcSettings, Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from records.api_keys import ApiKeys

__all__ = ["API_KEY", "Access", "Authenticated", "is_public"]

API_KEY = "X-Api-Key"
LONGEST = 8192
"""Characters of a key or token; a longer one is not looked at."""
POLICY_VIOLATION = 1008
_BEARER = "bearer "
_PUBLIC = frozenset({"/", "/about", "/docs", "/healthz", "/readyz", "/favicon.ico"})
_PUBLIC_FOLDERS = ("/page/",)
_identifier = TypeAdapter[str](Identifier)


class Access:
    """Tells who a request comes from. ``keys`` and ``oidc``: how callers may show it; with neither it is open."""

    def __init__(self, settings: Settings, keys: ApiKeys | None = None, oidc: Oidc | None = None) -> None:
        self.demanded = settings.access.mode != "open"
        self._claims = settings.access.oidc
        self._keys = keys
        self._oidc = oidc

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, database: AsyncEngine | None = None) -> AsyncIterator[Access]:
        """As the settings say. ``database``: the records', with its tables; where none is given and keys are asked
        for, one is opened, and its tables made. Raises RecordsUnavailable."""
        async with AsyncExitStack() as stack:
            if settings.access.mode == "open":
                yield cls(settings)
                return
            keys = oidc = None
            if settings.access.mode == "keys":
                from records.api_keys import ApiKeys  # and with it SQLAlchemy

                keys = ApiKeys(database or await _database(settings, stack))
            if settings.access.oidc is not None:
                oidc = Oidc(settings.access.oidc, await stack.enter_async_context(httpx.AsyncClient()))
            yield cls(settings, keys, oidc)

    async def caller(self, headers: Headers) -> Caller:
        """Who sends these headers. Raises Unauthenticated, Forbidden, IssuerUnavailable, RecordsUnavailable."""
        if not self.demanded:
            return ANYONE
        shown = self.shown(headers)
        if shown is None:
            raise Unauthenticated(
                f"Authorization: this site asks for a key. Send Authorization: Bearer KEY, or {API_KEY}: KEY.",
                field="Authorization",
            )
        return await self.caller_of_key(shown)

    @staticmethod
    def shown(headers: Headers) -> str | None:
        """The key or token in ``Authorization: Bearer`` or ``X-Api-Key``. Raises Unauthenticated where both differ,
        or where there are several."""
        given = {value.strip() for value in headers.getlist(API_KEY)}
        for value in headers.getlist("Authorization"):
            if value[: len(_BEARER)].lower() != _BEARER:
                raise Unauthenticated("Authorization: must be Bearer and the key or token.", field="Authorization")
            given.add(value[len(_BEARER) :].strip())
        if len(given) > 1:
            raise Unauthenticated("Authorization: several keys were sent. Send one.", field="Authorization")
        return next(iter(given), None)

    async def caller_of_key(self, key: str) -> Caller:
        """Whose key or token it is: for a transport that brings it in a message. Raises as :meth:`caller`."""
        if not self.demanded:
            return ANYONE
        if len(key) <= LONGEST:
            if key.startswith(PREFIX):
                return await self._of_api_key(key)
            if self._oidc is not None and self._claims is not None and key.count(".") == 2:
                return _of_claims(self._claims, await self._oidc.claims(key))
        raise _refused()

    async def _of_api_key(self, key: str) -> Caller:
        found = await self._keys.find(key) if self._keys else None
        if found is None:
            raise _refused()
        return Caller(found.tenant, found.user, frozenset(found.scopes), "key", found.id)


async def _database(settings: Settings, stack: AsyncExitStack) -> AsyncEngine:
    from records.database import connect_database, migrate

    url = Layout.of(settings).database_url(settings.records.database)
    Layout.of(settings).data.mkdir(parents=True, exist_ok=True)
    await migrate(url)
    database = connect_database(url)
    stack.push_async_callback(database.dispose)
    return database


def _refused() -> Unauthenticated:
    """One answer for a key that never was, one that is over and one that was revoked."""
    return Unauthenticated(
        "Authorization: this key does not hold: it is unknown, over or revoked. `parley keys` makes another.",
        field="Authorization",
    )


def _of_claims(settings: OidcSettings, claims: dict[str, Any]) -> Caller:
    tenant, user = claims.get(settings.tenant_claim), claims.get(settings.user_claim)
    if not _is_identifier(tenant):
        raise Forbidden(f"Authorization: the token's claim {settings.tenant_claim} names no tenant.")
    if not isinstance(user, str) or not user:
        raise Forbidden(f"Authorization: the token's claim {settings.user_claim} names no user.")
    scopes = claims.get(settings.scopes_claim, ())
    words = scopes.split() if isinstance(scopes, str) else scopes if isinstance(scopes, list) else ()
    held = frozenset(scope for scope in EVERY_SCOPE if scope in words)
    return Caller(str(tenant), _user(user), held, "oidc", _user(user))


def _is_identifier(value: Any) -> bool:
    try:
        _identifier.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _user(claimed: str) -> str:
    """As messages name people. A name of other characters (``auth0|17``) is known by its digest, always the same."""
    if _is_identifier(claimed):
        return claimed
    return f"oidc-{hashlib.sha256(claimed.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def is_public(path: str) -> bool:
    """Whether anybody may read it: liveness, the documentation, and the page, which asks for a key by itself."""
    return (
        path in _PUBLIC
        or path.startswith(_PUBLIC_FOLDERS)
        or (path.startswith("/openapi") and path.endswith(".json") and path.count("/") == 1)
    )


class Authenticated:
    """Puts the :class:`Caller` into ``scope["state"]["caller"]``, and answers 401 where there is none.

    A WebSocket that brings no key gets None there: its endpoint asks for one in the first message
    (:meth:`Access.caller_of_key`), because a browser cannot set its headers. Stands within
    :class:`~gateway.observed.Observed`, which gives each request its id and log line.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = HTTPConnection(scope).headers
        state = scope.setdefault("state", {})
        try:
            if scope["type"] == "http" and (is_public(scope["path"]) or scope["method"] == "OPTIONS"):
                state["caller"] = None if self._access.demanded else ANYONE
            elif scope["type"] == "websocket" and self._access.demanded and self._access.shown(headers) is None:
                state["caller"] = None
            else:
                state["caller"] = caller = await self._access.caller(headers)
                state.setdefault("log", {}).update(caller=caller.name)
        except ParleyFault as fault:
            await self._refuse(fault, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _refuse(self, fault: ParleyFault, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            socket = WebSocket(scope, receive, send)
            if "websocket.http.response" in scope.get("extensions", {}):
                await socket.send_denial_response(Response(status_code=fault.status))
            else:
                await socket.close(POLICY_VIOLATION)
            return
        response = await on_fault(Request(scope), fault)
        if isinstance(fault, Unauthenticated):
            shown = "Authorization" in Headers(scope=scope) or API_KEY in Headers(scope=scope)
            response.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if shown else "Bearer"
        await response(scope, receive, send)
