"""The gateway's Prometheus metrics, and the Temporal SDK's beside them on one page."""

from __future__ import annotations

import httpx
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SCRAPE_SECONDS = 1.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts requests. Labels are routes, never paths: a caller cannot make new series."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, registry: CollectorRegistry | None = None, temporal_port: int | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._temporal_port = temporal_port
        labels = ("method", "route", "status")
        self._requests = Counter("parley_gateway_requests", "Requests answered", labels, registry=self.registry)
        self._seconds = Histogram(
            "parley_gateway_request_seconds",
            "Seconds from request to answer",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("parley_gateway_requests_in_flight", "Requests being answered", registry=self.registry)
        self.sockets = Gauge("parley_gateway_web_sockets_open", "WebSockets that are open", registry=self.registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """One more request was answered."""
        labels = (method if method in _METHODS else "other", route, str(status))
        self._requests.labels(*labels).inc()
        self._seconds.labels(*labels).observe(seconds)

    async def page(self) -> bytes:
        """All metrics in Prometheus' text format; without Temporal's where its port does not answer."""
        return generate_latest(self.registry) + await self._temporal()

    async def _temporal(self) -> bytes:
        if self._temporal_port is None:
            return b""
        try:
            # trust_env: a proxy for the outside is none for the loopback
            async with httpx.AsyncClient(timeout=_SCRAPE_SECONDS, trust_env=False) as client:
                response = await client.get(f"http://127.0.0.1:{self._temporal_port}/metrics")
                response.raise_for_status()
        except httpx.HTTPError:
            return b""
        return response.content
