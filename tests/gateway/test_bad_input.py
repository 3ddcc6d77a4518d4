"""Nonsense on every address that takes JSON: one clear refusal each, and nothing is stuck behind it."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from gateway.validation import MOST_ERRORS
from tests.gateway.conftest import Front

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "How long?"}]}
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat": ASKED,
    "/v1/chat/completions": {**ASKED, "model": "default"},
    "/v1/dialogues": ASKED,
    "/v1/feedback": {"conversation": "conv-1", "turn": 1, "score": 1},
    "/v1/reviews/conv-1": {"turn": 1, "decision": "approve"},
}
"""With a body that each takes."""
JSON = "application/json"
MOST_SECONDS = 1.0
"""Of this process's time for one refusal, on a busy machine."""
BAD: list[tuple[str, bytes, str, set[int]]] = [
    ("empty", b"", JSON, {400}),
    ("no JSON", b"{", JSON, {400}),
    ("a list", b"[]", JSON, {400}),
    ("NaN", b'{"x": NaN}', JSON, {400}),
    ("deep", b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", JSON, {400}),
    ("a field twice", b'{"x": 1, "x": 1}', JSON, {400}),
    ("invalid UTF-8", b'{"x": "\xff"}', JSON, {400}),
    ("NUL", b'{"x": "\\u0000"}', JSON, {400, 422}),
    ("half a pair", b'{"x": "\\ud800"}', JSON, {400, 422}),
    ("huge", b'{"x": "' + b"x" * 1_000_001 + b'"}', JSON, {413}),
    ("many fields", json.dumps({f"f{n}": n for n in range(50_000)}).encode(), JSON, {400}),
    ("plain text", b"{}", "text/plain", {415}),
]


def _one_clear_error(response: httpx.Response, statuses: set[int]) -> None:
    assert response.status_code in statuses, response.text
    told = response.json()
    detail = told["error"]["message"] if "error" in told else told["detail"]
    assert detail
    assert detail.isprintable()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("body", "kind", "statuses"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
async def test_bad_bodies(alone: httpx.AsyncClient, path: str, body: bytes, kind: str, statuses: set[int]) -> None:
    """Refused before anything is asked of Temporal, and soon: meanwhile the gateway does nothing else."""
    begun = time.process_time()
    _one_clear_error(await alone.post(path, content=body, headers={"Content-Type": kind}), statuses)
    assert time.process_time() - begun < MOST_SECONDS


async def test_a_field_twice_behind_thousands_is_found_soon(alone: httpx.AsyncClient) -> None:
    """Looking for it must not cost their square."""
    body = "{" + ",".join(f'"f{n}": 1' for n in [*range(20_000), 19_999]) + "}"
    begun = time.process_time()
    _one_clear_error(await alone.post("/v1/chat", content=body, headers={"Content-Type": JSON}), {400})
    assert time.process_time() - begun < MOST_SECONDS


async def test_of_many_wrong_fields_the_first_are_told(alone: httpx.AsyncClient) -> None:
    """Each by name, the others by their number alone."""
    told = await alone.post("/v1/chat", json={**ASKED, **{f"f{n}": 1 for n in range(MOST_ERRORS + 5)}})
    assert told.status_code == 422
    assert [error["field"] for error in told.json()["errors"]] == [f"f{n}" for n in range(MOST_ERRORS)]
    assert told.json()["detail"].endswith("(24 more, 19 of them below errors.)")


@pytest.mark.parametrize("path", ROUTES)
async def test_wrong_types(alone: httpx.AsyncClient, path: str) -> None:
    """Of each field in turn."""
    for field in ROUTES[path]:
        for value in (None, True, 1.5, {}, [], "\u2028", -(2**70), 2**70):
            body = json.dumps({**ROUTES[path], field: value}).encode()
            response = await alone.post(path, content=body, headers={"Content-Type": JSON})
            _one_clear_error(response, {400, 422})


@pytest.mark.parametrize("path", list(ROUTES)[:3])
async def test_nothing_is_stuck_behind_bad_input(front: Front, path: str) -> None:
    """A message id that is used again, roles out of order and a model that is not there; then a good question."""
    named = {"metadata": {"message_id": "m-1"}} if path.endswith("completions") else {"message_id": "m-1"}
    other = [{"role": "user", "content": "Something else"}]
    wait = {"wait": 20} if path.endswith("dialogues") else {}
    good = {**ROUTES[path], **wait}
    unnamed = {"Idempotency-Key": f"{path}-first".replace("/", "") + front.new()}
    assert (await front.http.post(path, json=good, headers=unnamed)).status_code == 200
    again = await front.http.post(path, json={**good, "messages": other}, headers=unnamed)
    _one_clear_error(again, {409})
    out_of_order = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    _one_clear_error(await front.http.post(path, json={**good, **named, "messages": out_of_order}), {400, 422})
    _one_clear_error(await front.http.post(path, json={**good, **named, "model": "gpt-9"}), {404})
    after = await front.http.post(path, json={**good, "messages": other})
    assert after.status_code == 200, after.text
