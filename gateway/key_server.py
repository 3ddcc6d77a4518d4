"""The key service over HTTP: two questions, both JSON, which any machine may ask and only a known enclave is answered.

``POST /v1/challenge`` gives a nonce, ``POST /v1/tenant-keys`` takes a quote over it; ``records/key_exchange.py`` has
their shapes. A refusal is a problem (RFC 9457).
"""

from __future__ import annotations

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dialogue.faults import InvalidRequest, ParleyFault
from gateway import problems
from gateway.headers import SecurityHeaders
from gateway.json_body import read_object
from gateway.metrics import Metrics
from gateway.observed import Observed
from records.key_exchange import KeyRequest
from records.key_release import KeyRelease
from settings.schema import Settings

__all__ = ["create_key_app"]

_MOST_BODY = 128 * 1024
"""Bytes: a quote has some five thousand."""


def create_key_app(settings: Settings, release: KeyRelease) -> Starlette:
    """Nobody signs in: what an enclave proves is its credential."""
    service = _KeyServer(release, settings.gateway.body_seconds)
    return Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/v1/challenge", service.challenge, methods=["POST"]),
            Route("/v1/tenant-keys", service.tenant_keys, methods=["POST"]),
        ],
        middleware=[
            Middleware(SecurityHeaders, tls=settings.gateway.tls is not None),
            Middleware(Observed, Metrics()),
        ],
        exception_handlers={ParleyFault: problems.on_fault, HTTPException: problems.on_http_exception},
    )


class _KeyServer:
    def __init__(self, release: KeyRelease, seconds: float) -> None:
        self._release, self._seconds = release, seconds

    async def challenge(self, _: Request) -> Response:
        return _json(self._release.challenge().model_dump_json())

    async def tenant_keys(self, request: Request) -> Response:
        body = await read_object(request, _MOST_BODY, self._seconds, setting="a quote's size")
        try:
            asked = KeyRequest.model_validate(body)
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            raise InvalidRequest(
                f"{field}: must be as records/key_exchange.py has it: {error.errors()[0]['msg']}.", field=field
            ) from None
        request.state.log["tenant"] = asked.tenant
        return _json((await self._release.release(asked)).model_dump_json())


def _json(text: str) -> Response:
    return Response(text, media_type="application/json", headers={"Cache-Control": "no-store"})


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")
