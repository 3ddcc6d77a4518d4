"""Builds the gateway's ASGI application: its routes, its middleware and how faults are told."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dialogue.faults import ParleyFault
from gateway import openapi, pages, probes, problems
from gateway.chat import Chat
from gateway.conversations import Conversations
from gateway.core import Core
from gateway.metrics import Metrics
from gateway.observed import Observed
from gateway.turn_streams import TurnStreams
from gateway.wire import Health
from settings.schema import Settings

__all__ = ["create_app"]


def create_app(
    conversations: Conversations,
    settings: Settings,
    streams: TurnStreams,
    *,
    temporal_metrics_port: int | None = None,
    registry: CollectorRegistry | None = None,
    stopping: asyncio.Event | None = None,
) -> Starlette:
    """The application. ``temporal_metrics_port``: a loopback port where the Temporal SDK serves its metrics,
    which ``/metrics`` then holds too. ``registry``: where the gateway's own metrics go; its own where none is given.
    ``stopping``: set it and every request that waits for an answer ends with 503 and how to come back.
    """
    core = Core(conversations, settings, streams, stopping or asyncio.Event())
    chat = Chat(core)
    metrics = Metrics(registry, temporal_metrics_port)
    return Starlette(
        routes=[
            Route("/v1/chat", chat.say, methods=["POST"]),
            Route("/v1/chat/{conversation}", chat.conversation, methods=["GET", "DELETE"]),
            Route("/v1/chat/{conversation}/stream", chat.stream),
            *_operational(conversations, settings, metrics),
        ],
        middleware=[Middleware(Observed, metrics)],
        exception_handlers={ParleyFault: problems.on_fault, HTTPException: problems.on_http_exception},
    )


def _operational(conversations: Conversations, settings: Settings, metrics: Metrics) -> list[Route]:
    document = openapi.document()
    docs, index = pages.docs_page(document), pages.index_page(settings.temporal.web_ui)

    async def healthz(_: Request) -> Response:
        return JSONResponse(Health().model_dump())

    async def readyz(_: Request) -> Response:
        found = await probes.readiness(conversations.client, settings)
        return JSONResponse(found.model_dump(), 200 if found.ready else 503)

    async def openapi_json(_: Request) -> Response:
        return JSONResponse(document)

    async def metrics_page(_: Request) -> Response:
        return Response(await metrics.page(), media_type=metrics.content_type)

    async def docs_html(_: Request) -> Response:
        return docs

    async def index_html(_: Request) -> Response:
        return index

    return [
        Route("/", index_html),
        Route("/docs", docs_html),
        Route("/openapi.json", openapi_json),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics_page),
    ]
