"""Probes, metrics, the OpenAPI document and the pages."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route
from temporalio.testing import WorkflowEnvironment

from gateway.app import create_app
from gateway.conversations import Conversations
from gateway.openapi import document
from settings.schema import TemporalSettings
from tests.gateway.conftest import NO_STREAMS, QUESTION, WEB_UI, Front, Raising, http, settings_on
from tests.gateway.test_rpc import SERVICE
from tests.support.servers import dev_server


async def test_alive(alone: httpx.AsyncClient) -> None:
    """The process answers, whatever Temporal does."""
    response = await alone.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_with_its_workers(front: Front) -> None:
    """Temporal answers and somebody polls each queue."""
    async with asyncio.timeout(20):  # a worker's first poll arrives when it arrives
        while (response := await front.http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - Temporal has no event
            await asyncio.sleep(0.02)
    assert response.json()["ready"] is True
    assert {check["name"] for check in response.json()["checks"]} == {"temporal", "pool all"}


async def test_not_ready_without_workers(temporal: WorkflowEnvironment) -> None:
    """503 names the pool, its queue and the command that starts it."""
    queue = f"nobody-{uuid.uuid4().hex[:8]}"
    conversations = Conversations(temporal.client, task_queue=queue, web_ui=WEB_UI)
    async with http(create_app(conversations, settings_on(queue), NO_STREAMS)) as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == [
        {"name": "temporal", "ok": True, "detail": ""},
        {
            "name": "pool all",
            "ok": False,
            "detail": f"no worker polls the task queue {queue}. Start one with `parley worker all`.",
        },
    ]


async def test_not_ready_once_temporal_is_gone() -> None:
    """503 names the address that does not answer."""
    async with await dev_server() as gone:
        settings = settings_on("q", temporal=TemporalSettings(address=gone.client.service_client.config.target_host))
    conversations = Conversations(gone.client, task_queue="q", web_ui=WEB_UI)
    async with http(create_app(conversations, settings, NO_STREAMS)) as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    (check,) = response.json()["checks"]
    assert check == {
        "name": "temporal",
        "ok": False,
        "detail": f"no Temporal server answers at {settings.temporal.address}. Start it, or set temporal.address.",
    }


async def _metrics(client: httpx.AsyncClient) -> dict[tuple[str, str, str, str], float]:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]
    names = ("method", "route", "status")
    return {(sample.name, *(sample.labels.get(name, "") for name in names)): sample.value for sample in samples}  # type: ignore[misc]


async def test_requests_are_counted(alone: httpx.AsyncClient, raising: Raising) -> None:
    """By method, route and status, with their durations; no path, method or id of a caller makes a new series."""
    raising.fault = RuntimeError("unforeseen")
    await alone.post("/v1/chat", json=QUESTION)
    await alone.post("/v1/chat", json={})
    await alone.get("/v1/chat/conv-1?turn=0")
    await alone.get("/wp-login.php")
    await alone.request("BREW", "/healthz")
    found = await _metrics(alone)
    total = "parley_gateway_requests_total"
    assert found[total, "POST", "/v1/chat", "500"] == 1
    assert found[total, "POST", "/v1/chat", "422"] == 1
    assert found[total, "GET", "/v1/chat/{conversation}", "422"] == 1
    assert found[total, "GET", "unmatched", "404"] == 1
    assert found[total, "other", "/healthz", "405"] == 1
    assert found["parley_gateway_request_seconds_count", "POST", "/v1/chat", "422"] == 1
    assert found["parley_gateway_requests_in_flight", "", "", ""] == 1  # the one that asks


async def test_temporals_metrics_stand_beside_ours(raising: Raising) -> None:
    """What its port serves is appended; where nothing answers, ours are there all the same."""
    temporal = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry=temporal)
    Counter("temporal_request", "as the SDK has it", registry=temporal).inc()
    app = create_app(raising, settings_on("q"), NO_STREAMS, temporal_metrics_port=server.server_port)  # type: ignore[arg-type]
    try:
        async with http(app) as client:
            page = (await client.get("/metrics")).text
            assert "temporal_request_total 1.0" in page
            assert "parley_gateway_requests_in_flight 1.0" in page
            server.shutdown()
            server.server_close()
            thread.join()
            page = (await client.get("/metrics")).text
    finally:
        server.server_close()
    assert "temporal_request" not in page
    assert "parley_gateway_requests_in_flight 1.0" in page


async def test_the_openapi_document_is_valid(alone: httpx.AsyncClient) -> None:
    """By the rules of OpenAPI 3.1, as served."""
    served = (await alone.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(served).validate()
    assert served == document()


async def test_every_route_is_documented(raising: Raising) -> None:
    """With the methods that it takes, and nothing else is. The calls of gRPC-Web are in their own document, and the
    chat page's files are its own."""
    app = create_app(raising, settings_on("q"), NO_STREAMS)  # type: ignore[arg-type]
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and not route.path.startswith((SERVICE, "/page/"))
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = {
        (path, method) for path, item in document()["paths"].items() for method in item if method != "parameters"
    }
    assert served == documented


def _validator(name: str) -> OAS31Validator:
    whole = document()
    return OAS31Validator({"$ref": f"#/components/schemas/{name}", "components": whole["components"]})


async def test_answers_are_as_documented(front: Front, alone: httpx.AsyncClient) -> None:
    """Reply, transcript, cancellation, readiness and problem hold to their schemas."""
    conversation = front.new()
    bodies: list[tuple[str, Any]] = [
        ("ChatReply", await front.post(conversation=conversation)),
        ("Transcript", await front.http.get(f"/v1/chat/{conversation}")),
        ("Readiness", await front.http.get("/readyz")),
        ("Problem", await alone.post("/v1/chat", json={"messages": [], "seed": -1})),
    ]
    for name, response in bodies:
        assert list(_validator(name).iter_errors(response.json())) == [], name


@pytest.mark.parametrize("page", ["/about", "/docs"])
async def test_pages_fetch_nothing(alone: httpx.AsyncClient, page: str) -> None:
    """No script, no style sheet, no picture from anywhere; the browser is told to hold to it."""
    response = await alone.get(page)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    for forbidden in ("<script", "<link", "<img", "src="):
        assert forbidden not in response.text


async def test_the_docs_list_every_operation(alone: httpx.AsyncClient) -> None:
    """A reader without tools finds them all."""
    page = (await alone.get("/docs")).text
    for path, item in document()["paths"].items():
        for method in item.keys() - {"parameters"}:
            assert f"{method.upper()} {path}" in page
