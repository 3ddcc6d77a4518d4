"""Builds the gateway's ASGI application: its routes, its middleware and how faults are told."""

from __future__ import annotations

import asyncio
from functools import cache, partial

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dialogue.faults import ParleyFault
from gateway import chat_page, dialogues, judging, openai_api, openapi, pages, probes, problems, rpc, web_socket
from gateway.access import Access, Authenticated
from gateway.chat import Chat, caller_of
from gateway.conversations import Conversations
from gateway.core import Core
from gateway.edge import edge
from gateway.limits import Limits
from gateway.metrics import Metrics
from gateway.observed import Observed
from gateway.openai_errors import OpenAIErrors
from gateway.openapi_30 import as_openapi_30
from gateway.turn_streams import TurnStreams
from gateway.whoami import Whoami
from gateway.wire import Health
from records.caller_tokens import CallerTokens
from settings.schema import Settings

__all__ = ["create_app"]


def create_app(
    conversations: Conversations,
    settings: Settings,
    streams: TurnStreams,
    *,
    access: Access | None = None,
    limits: Limits | None = None,
    callers: CallerTokens | None = None,
    temporal_metrics_port: int | None = None,
    registry: CollectorRegistry | None = None,
    stopping: asyncio.Event | None = None,
) -> Starlette:
    """The application. ``access``, ``limits``, ``callers``: where none is given, anybody may use as much as they like
    and nothing is signed. ``temporal_metrics_port``: a loopback port where the Temporal SDK serves its metrics,
    which ``/metrics`` then holds too. ``registry``: where the gateway's own metrics go; its own where none is given.
    ``stopping``: set it and every request that waits for an answer ends with 503 and how to come back.
    """
    access = access or Access(settings)
    limits = limits or Limits({}, settings.gateway.max_body)
    stopping = stopping or asyncio.Event()
    core = Core(conversations, settings, streams, stopping, access, limits, callers or CallerTokens())
    chat = Chat(core)
    metrics = Metrics(registry, temporal_metrics_port)
    return Starlette(
        routes=[
            Route("/v1/chat", chat.say, methods=["POST"]),
            *openai_api.routes(core),
            Route("/v1/chat/{conversation}", chat.conversation, methods=["GET", "DELETE"]),
            Route("/v1/chat/{conversation}/stream", chat.stream),
            *dialogues.routes(core),
            *judging.routes(core),
            Route("/v1/whoami", Whoami(settings).whoami),
            *rpc.routes(core),
            *web_socket.routes(core),
            *_operational(conversations, settings, metrics),
        ],
        middleware=[
            *edge(settings.gateway),
            Middleware(OpenAIErrors),
            Middleware(Observed, metrics),
            Middleware(Authenticated, access),
        ],
        exception_handlers={
            ParleyFault: problems.on_fault,
            HTTPException: problems.on_http_exception,
            ClientDisconnect: problems.on_client_left,
        },
    )


def _operational(conversations: Conversations, settings: Settings, metrics: Metrics) -> list[Route]:
    made = {**_documents(), "/about": pages.index_page(settings.temporal.web_ui)}

    async def healthz(_: Request) -> Response:
        return JSONResponse(Health().model_dump())

    async def readyz(_: Request) -> Response:
        found = await probes.readiness(conversations.client, settings)
        return JSONResponse(found.model_dump(), 200 if found.ready else 503)

    async def metrics_page(request: Request) -> Response:
        caller_of(request).require("operate")
        return Response(await metrics.page(), media_type=metrics.content_type)

    return [
        *chat_page.routes(),
        *(Route(path, partial(_page, page)) for path, page in made.items()),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics_page),
    ]


async def _page(page: Response, _: Request) -> Response:
    return page


@cache
def _documents() -> dict[str, Response]:
    """By path. Alike for every application of a process, and a third of a second's work."""
    document = openapi.document()
    return {
        "/docs": pages.docs_page(document),
        "/openapi.json": JSONResponse(document),
        "/openapi-3.0.json": JSONResponse(as_openapi_30(document)),
    }
