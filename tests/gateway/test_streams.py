"""A turn is followed over server-sent events: shown as its tenant's policy lets it be, resumed behind any event."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.turn_streams import open_streams
from settings.schema import GatewaySettings
from tests.gateway.conftest import Front
from tests.support.scripted_steps import SAID
from tests.support.served import served


def events_of(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found: list[tuple[int, str, dict[str, Any]]] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and line)
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], "stream": True, **more}


async def test_a_question_is_streamed(front: Front) -> None:
    """Ids only grow; the steps come in order; the last event holds the whole reply."""
    response = await front.http.post("/v1/chat", json=said("How long?", tenant="open"))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert "no-transform" in response.headers["cache-control"]
    events = events_of(response.text)
    ids = [id_ for id_, _, _ in events]
    assert ids == sorted(set(ids))
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "accepted"
    assert kinds[-1] == "final"
    steps = [data["step"] for _, kind, data in events if kind == "step"]
    assert steps == ["receive_input", "generate_answer", "review_answer"]
    assert "".join(data["text"] for _, kind, data in events if kind == "token") == SAID
    final = events[-1][2]
    assert final["answer"] == f"{SAID} (0)"
    assert final["verdict"] == "pass"
    assert final["trace_url"].endswith(f"/{final['workflow_id']}/{final['run_id']}")


async def test_nothing_is_shown_before_the_review(front: Front) -> None:
    """In after-review the answer comes at once, behind the review, and is what the review let through."""
    response = await front.http.post("/v1/chat", json=said("How long?"))
    events = events_of(response.text)
    tokens = [(id_, data["text"]) for id_, kind, data in events if kind == "token"]
    review = next(id_ for id_, kind, data in events if kind == "step" and data["step"] == "review_answer")
    assert [text for _, text in tokens] == [f"{SAID} (0)"]
    assert tokens[0][0] > review


async def test_what_is_made_again_is_withdrawn(front: Front) -> None:
    """A retry takes back what was shown of the try before; nothing is taken back where nothing was shown."""
    body = said("That goes bad.", tenant="open", conversation=front.new())
    kinds = [kind for _, kind, _ in events_of((await front.http.post("/v1/chat", json=body)).text)]
    assert kinds.index("retract") == kinds.index("retry") - 1 > kinds.index("token")
    body = said("That goes bad.", conversation=front.new())
    assert "retract" not in [kind for _, kind, _ in events_of((await front.http.post("/v1/chat", json=body)).text)]


async def test_what_may_not_be_seen_is_never_shown(front: Front) -> None:
    """Through the gate a number is covered before anybody sees it, whatever pieces it came in."""
    text = "sayword Call 13987654321 or 139 8765 4321 now."
    response = await front.http.post("/v1/chat", json=said(text, tenant="gated"))
    shown = "".join(data["text"] for _, kind, data in events_of(response.text) if kind == "token")
    assert shown == "Call ███ or ███ now."


async def test_a_blocked_answer_is_withdrawn(front: Front) -> None:
    body = said("block this", tenant="open")
    events = events_of((await front.http.post("/v1/chat", json=body)).text)
    assert [kind for _, kind, _ in events][-2:] == ["retract", "final"]
    assert events[-1][2]["verdict"] == "block"


@pytest.mark.parametrize("tenant", ["open", "default"])
async def test_a_reader_resumes_behind_any_event(front: Front, tenant: str) -> None:
    """Whatever was read before, the rest is the same bytes."""
    conversation = front.new()
    first = await front.http.post("/v1/chat", json=said("That goes bad.", tenant=tenant, conversation=conversation))
    whole = [block for block in first.text.split("\n\n") if block]
    for read in range(len(whole)):
        last = "0" if not read else whole[read - 1].split("\n")[0].removeprefix("id: ")
        again = await front.http.get(
            f"/v1/chat/{conversation}/stream",
            params={"tenant": tenant, "turn": "1"},
            headers={"Last-Event-ID": last},
        )
        assert [block for block in again.text.split("\n\n") if block] == whole[read:]


async def test_a_turn_is_resumed_while_it_is_made(front: Front) -> None:
    """Another reader takes it up in the middle, by the message's id, and sees it end."""
    conversation = front.new()
    body = said("A slow one.", tenant="open", conversation=conversation, message_id="m-1")
    saying = asyncio.create_task(front.http.post("/v1/chat", json=body))
    await front.steps.running.wait()
    query = {"tenant": "open", "message_id": "m-1"}
    resuming = asyncio.create_task(front.http.get(f"/v1/chat/{conversation}/stream", params=query))
    front.steps.release.set()
    first, second = await asyncio.gather(saying, resuming)
    assert first.text == second.text


async def test_a_turn_that_waits_for_a_person_ends_the_stream(front: Front) -> None:
    """The reader is told so and need not wait a day; who resumes is told the same."""
    conversation = front.new()
    body = said("This is doubtful.", tenant="open", conversation=conversation)
    events = events_of((await front.http.post("/v1/chat", json=body)).text)
    assert [kind for _, kind, _ in events][-2:] == ["retract", "final"]
    assert events[-1][2]["state"] == "waiting"
    again = await front.http.get(f"/v1/chat/{conversation}/stream", params={"tenant": "open", "turn": 1})
    assert events_of(again.text) == events


async def test_a_refusal_is_an_answer_of_its_own(front: Front) -> None:
    """What the conversation refuses has its status, also where a stream was asked for."""
    conversation = front.new()
    await front.http.post("/v1/chat", json=said("How long?", conversation=conversation, message_id="m-1"))
    other = await front.http.post("/v1/chat", json=said("Other text", conversation=conversation, message_id="m-1"))
    assert (other.status_code, other.json()["type"]) == (409, "/docs#message-id-reused")
    again = await front.http.post("/v1/chat", json=said("How long?", conversation=conversation, message_id="m-1"))
    assert events_of(again.text)[-1][2]["turn"] == 1
    assert len(front.steps.called("generate_answer")) == 1


async def test_a_busy_conversation_queues_rejects_or_is_interrupted(front: Front) -> None:
    conversation = front.new()
    slow = asyncio.create_task(front.post(conversation=conversation, messages=[{"role": "user", "content": "slow"}]))
    await front.steps.running.wait()
    refused = await front.post(conversation=conversation, on_busy="reject")
    assert (refused.status_code, refused.json()["type"]) == (429, "/docs#conversation-busy")
    instead = await front.post(conversation=conversation, on_busy="interrupt")
    assert instead.json()["verdict"] == "pass"
    assert (await slow).json()["verdict"] == "cancelled"


async def test_of_a_foreign_conversation_nothing_is_read(front: Front) -> None:
    conversation = front.new()
    await front.http.post("/v1/chat", json=said("How long?", conversation=conversation))
    for where in (conversation, "conv-never"):
        told = await front.http.get(f"/v1/chat/{where}/stream", params={"tenant": "open", "turn": 1})
        assert told.status_code == 404
        assert told.json()["detail"] == f"conversation {where} belongs to no tenant you may read."
    missing = await front.http.get(f"/v1/chat/{conversation}/stream", params={"turn": 7})
    assert (missing.status_code, missing.json()["type"]) == (404, "/docs#no-such-turn")


async def test_a_fault_of_a_resumed_stream_is_behind_what_was_read(front: Front) -> None:
    """Who comes back with its id, as EventSource does, is not sent to the beginning."""
    conversation, stopping = front.new(), asyncio.Event()
    asking = asyncio.create_task(front.post(conversation=conversation, messages=[{"role": "user", "content": "slow"}]))
    await front.steps.running.wait()
    settings = front.settings.model_copy(update={"gateway": GatewaySettings(heartbeat_seconds=0.1)})
    async with (
        open_streams(settings, front.conversations.trace_url) as streams,
        served(create_app(front.conversations, settings, streams, stopping=stopping)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        client.stream("GET", f"/v1/chat/{conversation}/stream?turn=1", headers={"Last-Event-ID": "12345"}) as read,
    ):
        chunks = read.aiter_text()
        assert await anext(chunks) == ": still here\n\n"
        stopping.set()
        [(id_, kind, _)] = events_of("".join([chunk async for chunk in chunks]))
    assert (id_, kind) == (12346, "error")
    front.steps.release.set()
    await asking


async def test_a_lost_log_costs_the_stream_and_not_the_answer(front: Front) -> None:
    """The reply itself ends the stream."""
    front.steps.token_log = None
    events = events_of((await front.http.post("/v1/chat", json=said("How long?", tenant="open"))).text)
    assert [kind for _, kind, _ in events] == ["final"]
    assert events[0][2]["answer"] == f"{SAID} (0)"
