"""Every fault is told as RFC 9457 problem details, and an unforeseen one tells nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from dialogue.faults import ConversationBusy, LimitReached, ParleyFault, all_faults
from gateway.problems import CLIENT_LEFT
from tests.gateway.conftest import QUESTION, Raising

SECRET = "the user's own words"


@pytest.mark.parametrize("fault", all_faults().values(), ids=all_faults().keys())
async def test_each_fault_is_a_problem(alone: httpx.AsyncClient, raising: Raising, fault: type[ParleyFault]) -> None:
    """Its status, title, message and field stand in the body, its type leads to its documentation."""
    raising.fault = fault("messages: this and that. Do so.", field="messages")
    response = await alone.post("/v1/chat", json=QUESTION, headers={"X-Request-Id": "caller-1"})
    assert response.status_code == fault.status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body.items() >= {"title": fault.title, "status": fault.status, "instance": "caller-1"}.items()
    assert body["field"] == "messages"
    page, _, anchor = body["type"].partition("#")
    assert f'id="{anchor}"' in (await alone.get(page)).text
    if fault is not ParleyFault:
        assert body["detail"] == "messages: this and that. Do so."


async def test_a_fault_of_no_known_type_keeps_its_words(
    alone: httpx.AsyncClient, raising: Raising, logged: list[dict[str, Any]]
) -> None:
    """What a foreign error says goes to the operator's log and not to the caller."""
    raising.fault = ParleyFault("postgres://user:pass@host refused")
    response = await alone.post("/v1/chat", json=QUESTION)
    assert response.status_code == 500
    assert "postgres" not in response.text
    assert logged[-1]["error"] == "postgres://user:pass@host refused"


async def test_an_unforeseen_error_shows_no_stack(
    alone: httpx.AsyncClient, raising: Raising, logged: list[dict[str, Any]]
) -> None:
    """500 with the request's id; the log says where it happened, without the message, which may hold a text."""
    raising.fault = RuntimeError(SECRET)
    response = await alone.post("/v1/chat", json=QUESTION)
    assert response.status_code == 500
    assert "Traceback" not in response.text
    assert SECRET not in response.text
    assert response.json()["instance"] == response.headers["x-request-id"]
    line = logged[-1]
    assert line["log_level"] == "error"
    assert line["error"] == "RuntimeError"
    assert any("conftest.py" in frame for frame in line["at"])
    assert SECRET not in str(line)


async def test_busy_says_when_to_come_back(alone: httpx.AsyncClient, raising: Raising) -> None:
    """429 carries Retry-After."""
    raising.fault = ConversationBusy("conversation: 8 messages wait already.")
    response = await alone.post("/v1/chat", json={**QUESTION, "conversation": "c1"})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("path", ["/v2/chat", "/v1/chat/a/b", "/favicon.ico", "/v1/"])
async def test_an_unknown_address_is_404(alone: httpx.AsyncClient, path: str) -> None:
    """A problem, too, which says where the addresses are listed."""
    response = await alone.get(path)
    assert response.status_code == 404
    assert response.json()["type"] == "about:blank"
    assert "/docs" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/v1/chat", "POST"), ("PUT", "/v1/chat/c1", "DELETE, GET, HEAD"), ("POST", "/healthz", "GET, HEAD")],
)
async def test_another_method_is_405(alone: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
    """The Allow header names the methods."""
    response = await alone.request(method, path)
    assert response.status_code == 405
    assert ", ".join(sorted(response.headers["allow"].split(", "))) == allowed
    assert method in response.json()["detail"]


@pytest.mark.parametrize("given", ["", "two words", "a\tb", "x" * 129, "ünïcode", "-flag", '"quoted"'])
async def test_a_request_id_that_no_log_can_keep_is_replaced(alone: httpx.AsyncClient, given: str) -> None:
    """It gets one of ours."""
    response = await alone.get("/healthz", headers=[(b"X-Request-Id", given.encode())])
    assert response.headers["x-request-id"].startswith("req-")


async def test_a_good_request_id_comes_back(alone: httpx.AsyncClient) -> None:
    """So that a caller finds its own in our log."""
    response = await alone.get("/healthz", headers={"X-Request-Id": "4bf92f35-77b3:7"})
    assert response.headers["x-request-id"] == "4bf92f35-77b3:7"


async def test_a_limit_says_when_it_is_free(alone: httpx.AsyncClient, raising: Raising) -> None:
    """In the header that clients wait by."""
    raising.fault = LimitReached("tenant a: it may send 2 messages a minute. Send it again in 17 s.", retry_after=17)
    response = await alone.post("/v1/chat", json=QUESTION)
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/chat/completions", "/v1/dialogues", "/parley.v1.Dialogues/Say"])
async def test_who_leaves_while_they_send_is_no_fault(
    alone: httpx.AsyncClient, path: str, logged: list[dict[str, Any]]
) -> None:
    """The line says so, and names no error of ours."""

    async def half() -> AsyncIterator[bytes]:
        yield b"{"
        raise ClientDisconnect  # as the server's receive tells it

    told = await alone.post(path, content=half(), headers={"Content-Type": "application/json"})
    assert told.status_code == CLIENT_LEFT
    (line,) = [line for line in logged if line["event"] == "request"]
    assert (line["status"], line["log_level"], "error" in line) == (CLIENT_LEFT, "info", False)
