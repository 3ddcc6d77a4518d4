"""The codec server: Temporal's remote codec over HTTP, for the Web UI, the ``temporal`` CLI and other SDKs.

People: ``/decode``, ``/encode`` and ``/download``, as their role allows. Programs: ``/TENANT/USER/decode`` and
``/encode``. Both send and get ``{"payloads": […]}``, the JSON of protobuf. A fault is a line of text, because that is
what SDKs show of an answer.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import json_format
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from dialogue.faults import Forbidden, InvalidRequest, ParleyFault, Unauthenticated
from dialogue.messages import Identifier
from gateway import problems
from gateway.access import Access
from gateway.caller import Caller
from gateway.codec_payloads import CodecPayloads, Shown
from gateway.codec_roles import Role, person, require_service
from gateway.codec_sign_in import SignIn
from gateway.headers import SecurityHeaders
from gateway.json_body import read_object
from gateway.metrics import Metrics
from gateway.observed import REQUEST_ID, Observed
from records.payload_looks import PayloadLooks
from records.payload_store import is_reference
from settings.schema import Settings

__all__ = ["CodecServer", "create_codec_app"]

_LIMIT = "codec_server.max_body"
# what the Web UI sends; with a sign-in of its own it adds the last
_ASKED = ("Authorization", "Content-Type", "X-Namespace", REQUEST_ID, "Authorization-Extras")
_PREFLIGHT_SECONDS = 600
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_identifier = TypeAdapter[str](Identifier)


def create_codec_app(
    settings: Settings,
    payloads: CodecPayloads,
    looks: PayloadLooks,
    access: Access,
    *,
    url: str,
    ui_origins: tuple[str, ...],
) -> Starlette:
    """``access`` must demand a key. ``url``: where browsers reach this server; ``ui_origins``: whose pages may."""
    sign_in = SignIn(access, ui_origins, url, settings.codec_server.session_hours)
    server = CodecServer(settings, payloads, looks, sign_in)
    return Starlette(
        routes=[
            *sign_in.routes(),
            Route("/healthz", _healthz),
            Route("/decode", server.decode, methods=["POST"]),
            Route("/download", server.download, methods=["POST"]),
            Route("/encode", server.encode, methods=["POST"]),
            Route("/{tenant}/{user}/decode", server.decode_for_user, methods=["POST"]),
            Route("/{tenant}/{user}/encode", server.encode_for_user, methods=["POST"]),
        ],
        middleware=[
            Middleware(SecurityHeaders, tls=settings.gateway.tls is not None),
            Middleware(
                CORSMiddleware,
                allow_origins=ui_origins,
                allow_methods=("POST",),
                allow_headers=_ASKED,
                allow_credentials=True,
                max_age=_PREFLIGHT_SECONDS,
            ),
            Middleware(Observed, Metrics()),
        ],
        exception_handlers={ParleyFault: _on_fault, HTTPException: _on_http_exception},
    )


class CodecServer:
    """The operations, one method each."""

    def __init__(self, settings: Settings, payloads: CodecPayloads, looks: PayloadLooks, sign_in: SignIn) -> None:
        self._limit = settings.codec_server.max_body
        self._seconds = settings.gateway.body_seconds
        self._payloads = payloads
        self._looks = looks
        self._sign_in = sign_in

    async def decode(self, request: Request) -> Response:
        """``preserveStorageRefs=true``, as the Web UI asks: what is stored outside comes by ``/download`` alone."""
        keep = request.query_params.get("preserveStorageRefs", "").lower() == "true"
        return await self._show(request, keep_references=keep)

    async def download(self, request: Request) -> Response:
        return await self._show(request, references_alone=True)

    async def encode(self, request: Request) -> Response:
        """For a person who types an input: it is theirs, so their key must say who they are. A query without one, as
        the CLI asks for details, is anybody's with a role."""
        caller = await self._caller(request)
        role, given = person(caller), await self._given(request)
        if not given:
            return _answer([])
        if not role.reads_texts:
            raise _only_shapes()
        if caller.user is None:
            raise InvalidRequest(
                "user: this key speaks for no single user, and a payload must be somebody's. Use a key made with "
                "--user, or POST /TENANT/USER/encode."
            )
        return _answer(await self._payloads.encode(given, caller.for_tenant(None), caller.user, store=True))

    async def decode_for_user(self, request: Request) -> Response:
        caller, tenant, user = await self._whose(request)
        shown = await self._payloads.decode(await self._given(request), tenant, user)
        return await self._shown(caller, tenant, shown)

    async def encode_for_user(self, request: Request) -> Response:
        _, tenant, user = await self._whose(request)
        return _answer(await self._payloads.encode(await self._given(request), tenant, user))

    async def _show(
        self, request: Request, *, keep_references: bool = False, references_alone: bool = False
    ) -> Response:
        caller = await self._caller(request)
        role, tenant = person(caller), caller.for_tenant(None)
        given = await self._given(request)
        if references_alone and not all(map(is_reference, given)):
            raise InvalidRequest(
                "payloads: /download takes references to payloads that are stored outside. Send others to /decode.",
                field="payloads",
            )
        shown = await self._payloads.show(given, tenant, texts=role.reads_texts, keep_references=keep_references)
        request.state.log.update(role=str(role), payloads=len(given), opened=len(shown.opened))
        return await self._shown(caller, tenant, shown)

    async def _shown(self, caller: Caller, tenant: str, shown: Shown) -> Response:
        """An auditor's looks are logged first, as whatever else their key asks."""
        if Role.AUDITOR in caller.scopes:
            await self._looks.add(caller.name, caller.how, tenant, shown.opened)
        return _answer(shown.payloads)

    async def _caller(self, request: Request) -> Caller:
        caller = await self._sign_in.caller(request)
        request.state.log.update(caller=caller.name, namespace=request.headers.get("X-Namespace", "")[:200])
        return caller

    async def _whose(self, request: Request) -> tuple[Caller, str, str]:
        caller = await self._caller(request)
        require_service(caller)
        tenant = caller.for_tenant(request.path_params["tenant"])
        user = request.path_params["user"]
        try:
            _identifier.validate_python(user)
        except ValidationError:
            raise InvalidRequest(f"user: {user[:60]!r} is no user's name.", field="user") from None
        return caller, tenant, caller.for_user(user)

    async def _given(self, request: Request) -> list[Payload]:
        """Raises HTTPException 413 and 415, BodyTooSlow, MalformedBody, InvalidRequest."""
        body = await read_object(request, self._limit, self._seconds, setting=_LIMIT)
        found = body.get("payloads", [])  # protobuf's JSON leaves an empty list out
        if not isinstance(found, list):
            raise InvalidRequest('payloads: is no list. Send {"payloads": […]}.', field="payloads")
        try:
            if not all(map(_is_base64, found)):
                raise TypeError
            return list(json_format.ParseDict({"payloads": found}, Payloads(), ignore_unknown_fields=True).payloads)
        except (json_format.ParseError, AttributeError, ValueError, TypeError):
            # its own words may repeat what was sent
            raise InvalidRequest(
                'payloads: must be a list of {"metadata": {NAME: BASE64}, "data": BASE64}.', field="payloads"
            ) from None


def _is_base64(payload: dict[str, Any]) -> bool:
    """Protobuf's own reader passes over what is none, and so makes another payload of a damaged one."""
    values = [payload.get("data", ""), *payload.get("metadata", {}).values()]
    return all(_BASE64.fullmatch(value) for value in values)


def _only_shapes() -> ParleyFault:
    return Forbidden("scope: an operator sees sizes and seals nothing. Use a key with codec:reviewer or codec:auditor.")


def _answer(payloads: list[Payload]) -> Response:
    text = json_format.MessageToJson(Payloads(payloads=payloads), indent=None)
    return Response(text, media_type="application/json")


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _on_fault(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, ParleyFault)  # noqa: S101 - registered for it alone
    request.state.log["fault"] = fault.type
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(fault, Unauthenticated) else {}
    if fault.status in problems.AGAIN_LATER:
        headers["Retry-After"] = str(problems.retry_after(fault))
    return PlainTextResponse(problems.told(fault)["detail"] + "\n", fault.status, headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    del request
    return PlainTextResponse(error.detail + "\n", error.status_code, error.headers)
