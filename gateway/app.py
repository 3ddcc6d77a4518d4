"""Builds the gateway's ASGI application: its routes, its middleware and how faults are told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from gateway.conversations import Conversations
from settings.schema import Settings

__all__ = ["create_app"]


def create_app(
    conversations: Conversations,
    settings: Settings,
    *,
    temporal_metrics_port: int | None = None,
    registry: CollectorRegistry | None = None,
) -> Starlette:
    """The application. ``temporal_metrics_port``: a loopback port where the Temporal SDK serves its metrics,
    which ``/metrics`` then holds too. ``registry``: where the gateway's own metrics go; its own where none is given.
    """
    raise NotImplementedError
