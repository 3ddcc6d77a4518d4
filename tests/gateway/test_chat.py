"""POST /v1/chat answers in one shape, or says what is wrong with which field; GET and DELETE follow a conversation."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from dialogue.messages import ResolveReview
from gateway.app import create_app
from tests.gateway.conftest import NO_STREAMS, QUESTION, WEB_UI, Front, http, settings_on

MESSAGE = {"role": "user", "content": "How long?"}
SURE = [MESSAGE, {"role": "assistant", "content": "30 days."}, {"role": "user", "content": "Sure?"}]


def said(content: str = "How long?", role: str = "user", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content}], **more}


OF_ID = "must be letters, digits and . _ : @ + - only, a letter or digit first, but is"
BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({}, 422, "messages", "is missing. Give it a value."),
    ({"messages": []}, 422, "messages", "must be a list of at least 1, but is empty."),
    ({"messages": "hello"}, 422, "messages", "must be a list, but is 'hello'."),
    ({"messages": {"role": "user"}}, 422, "messages", "must be a list, but is an object."),
    ({"messages": ["hello"]}, 422, "messages.0", "must be an object, but is 'hello'."),
    ({"messages": [{"content": "x"}]}, 422, "messages.0.role", "is missing. Give it a value."),
    (said(role="robot"), 422, "messages.0.role", "must be 'system', 'user' or 'assistant', but is 'robot'."),
    (said(""), 422, "messages.0.content", "is empty. Send at least one character."),
    ({"messages": [{"role": "user", "content": 7}]}, 422, "messages.0.content", "must be text, but is 7."),
    ({"messages": [{"role": "user", "content": None}]}, 422, "messages.0.content", "must be text, but is null."),
    ({"messages": [{**MESSAGE, "name": "me"}]}, 422, "messages.0.name", "no such field. Leave it out."),
    (said("x" * 100_001), 422, "messages.0.content", "has 100001 characters. Send at most 100000."),
    (said("x" * 8001), 413, "messages.0.content", "has 8001 characters. Send at most 8000."),
    (said("x" * 21, tenant="acme"), 413, "messages.0.content", "has 21 characters. Send at most 20."),
    ({"messages": [MESSAGE] * 201}, 422, "messages", "must be a list of at most 200, but is a list."),
    (
        said(role="assistant"),
        422,
        "messages.0.role",
        "must be user, but is assistant. The last message is ",
    ),
    (said(role="assistant", conversation="c1"), 422, "messages", "holds no message with the role user."),
    (said(temperature=2.1), 422, "temperature", "must be at most 2, but is 2.1."),
    (said(temperature=-0.1), 422, "temperature", "must be at least 0, but is -0.1."),
    (said(temperature="0.6"), 422, "temperature", "must be a number, but is '0.6'."),
    (said(temperature=True), 422, "temperature", "must be a number, but is true."),
    (said(seed=-1), 422, "seed", "must be at least 0, but is -1."),
    (said(seed=2**53 + 1), 422, "seed", "must be at most 9007199254740992, but is 9007199254740993."),
    (said(seed=1.5), 422, "seed", "must be a whole number, but is 1.5."),
    (said(max_tokens=0), 422, "max_tokens", "must be at least 1, but is 0."),
    (said(max_tokens=10**30), 422, "max_tokens", "must be at most 32768, but is 1000"),
    (said(temprature=0.6), 422, "temprature", "no such field. Did you mean temperature?"),
    (said(model="gpt"), 404, "model", "there is no model gpt. There are: default, smollm2-135m-instruct, canary, "),
    (said(tenant="other"), 404, "tenant", "there is no tenant other. Name one of this site's."),
    (said(conversation="a b"), 422, "conversation", f"{OF_ID} 'a b'."),
    (said(conversation=""), 422, "conversation", "is empty. Send at least one character."),
    (said(conversation="c" * 129), 422, "conversation", "has 129 characters. Send at most 128."),
    (said(conversation="dlg-abc"), 422, "conversation", "dlg-abc was a single question. Choose an id that does not "),
    (said(message_id="a/b"), 422, "message_id", f"{OF_ID} 'a/b'."),
    (said(user="' OR 1=1"), 422, "user", OF_ID),
]


@pytest.mark.parametrize(("body", "status", "field", "detail"), BAD, ids=[f"{n}-{bad[2]}" for n, bad in enumerate(BAD)])
async def test_bad_fields(alone: httpx.AsyncClient, body: dict[str, Any], status: int, field: str, detail: str) -> None:
    """Each is refused by name, before anything is asked of Temporal, in words that say what to send."""
    response = await alone.post("/v1/chat", json=body)
    told = response.json()
    assert (response.status_code, told["field"]) == (status, field), told
    assert told["detail"].startswith(f"{field}: {detail}")
    assert "errors" not in told


async def test_several_bad_fields_are_listed(alone: httpx.AsyncClient) -> None:
    """The first is the detail; all stand in errors, so that one round trip tells everything."""
    response = await alone.post("/v1/chat", json=said("", temperature=9, strem=True))
    told = response.json()
    assert [error["field"] for error in told["errors"]] == ["messages.0.content", "temperature", "strem"]
    assert told["detail"] == "messages.0.content: is empty. Send at least one character. (2 more below errors.)"


async def test_a_bad_idempotency_key_is_named(alone: httpx.AsyncClient) -> None:
    """It is a message id like any other."""
    response = await alone.post("/v1/chat", json=QUESTION, headers={"Idempotency-Key": "a b"})
    assert response.status_code == 422
    assert response.json()["field"] == "Idempotency-Key"


async def test_a_question_is_answered(front: Front) -> None:
    """Without a conversation a DialogueWorkflow answers; the reply holds the whole shape."""
    response = await front.post(user="ann", seed=11, temperature=0.2, max_tokens=40)
    assert response.status_code == 200, response.text
    reply = response.json()
    assert reply["answer"] == "You have 30 days [1]. (0)"
    assert reply["verdict"] == "pass"
    assert reply["intent"] == "return_item"
    assert reply["state"] == "done"
    assert reply["language"] == "en"
    assert reply["turn"] == 1
    assert reply["model"] == "scripted"
    assert reply["snapshot"] == "5" * 64
    assert reply["usage"] == {"prompt_tokens": 20, "completion_tokens": 8, "reasoning_tokens": 0, "total_tokens": 28}
    assert [step["step"] for step in reply["steps"]] == [
        "receive_input",
        "recognise_intent",
        "retrieve_knowledge",
        "generate_answer",
        "review_answer",
        "return_answer",
    ]
    assert reply["workflow_id"] == reply["conversation"]
    assert reply["workflow_id"].startswith("dlg-")
    where = f"{WEB_UI}/namespaces/default/workflows/{reply['workflow_id']}/{reply['run_id']}"
    assert reply["trace_url"] == where
    row = front.steps.rows[reply["conversation"], 1]
    assert (row.user, row.address, row.message_id) == ("ann", "192.0.2.7", reply["message_id"])
    received = front.steps.called("receive_input")[0]
    assert (received.seed, received.temperature, received.max_new_tokens) == (11, 0.2, 40)


async def test_a_conversation_goes_on(front: Front) -> None:
    """With a conversation its last user message is said, and the turns are numbered."""
    conversation = front.new()
    first = await front.post(conversation=conversation)
    second = await front.post(conversation=conversation, messages=SURE)
    assert [first.json()["turn"], second.json()["turn"]] == [1, 2]
    assert front.steps.rows[conversation, 2].question == "Sure?"


async def test_earlier_messages_are_the_history_of_a_question(front: Front) -> None:
    """Without a conversation the last message is the question and the others are its history."""
    response = await front.post(messages=SURE)
    assert response.status_code == 200, response.text
    generated = front.steps.called("generate_answer")[0]
    assert generated.question == "Sure?"
    assert [message.content for message in generated.history] == ["How long?", "30 days."]


@pytest.mark.parametrize("conversation", [True, False], ids=["conversation", "question"])
async def test_a_message_sent_twice_is_answered_once(front: Front, conversation: bool) -> None:
    """At once and again later, by message_id or by Idempotency-Key: one turn, one row, the same reply."""
    named = {"conversation": front.new()} if conversation else {}
    key = front.new()
    body = {**QUESTION, **named}
    keyed = front.http.post("/v1/chat", json=body, headers={"Idempotency-Key": key})
    first, second = await asyncio.gather(front.post(**named, message_id=key), keyed)
    third = await front.post(**named, message_id=key)
    assert first.json() == second.json()
    assert third.json()["answer"] == first.json()["answer"]
    assert third.json()["message_id"] == key
    assert len(front.steps.rows) == 1


@pytest.mark.parametrize("conversation", [True, False], ids=["conversation", "question"])
async def test_a_message_id_with_another_text_is_409(front: Front, conversation: bool) -> None:
    """Nothing is answered by mistake with what somebody else asked."""
    named = {"conversation": front.new()} if conversation else {}
    key = front.new()
    await front.post(**named, message_id=key)
    response = await front.post(**named, message_id=key, **said("Another?"))
    assert response.status_code == 409
    assert response.json()["type"] == "/docs#message-id-reused"
    assert len(front.steps.rows) == 1


async def test_the_body_goes_before_the_header(front: Front) -> None:
    """Where both name the message, message_id holds."""
    response = await front.http.post(
        "/v1/chat", json={**QUESTION, "message_id": front.new()}, headers={"Idempotency-Key": "header-1"}
    )
    assert response.json()["message_id"] != "header-1"


async def test_two_users_may_use_the_same_message_id(front: Front) -> None:
    """A question's id belongs to its tenant and user: nobody is given another's answer."""
    key = front.new()
    ann, bob = [await front.post(message_id=key, user=user) for user in ("ann", "bob")]
    assert ann.json()["conversation"] != bob.json()["conversation"]


async def test_a_person_decides_later(front: Front) -> None:
    """A verdict human is 202 with where to look; there the turn is waiting until it is resolved, then the answer."""
    conversation = front.new()
    response = await front.post(conversation=conversation, **said("doubtful?"))
    assert response.status_code == 202
    assert (response.json()["state"], response.json()["verdict"]) == ("waiting", "human")
    assert int(response.headers["retry-after"]) > 0
    assert response.headers["location"] == f"/v1/chat/{conversation}?tenant=default&turn=1"
    looked = await front.http.get(response.headers["location"])
    assert looked.json()["waiting"] == [1]
    assert "retry-after" in looked.headers
    await front.conversations.resolve_review(conversation, ResolveReview(turn=1, decision="approve", by="kim"))
    looked = await front.http.get(response.headers["location"])
    assert [turn["state"] for turn in looked.json()["turns"]] == ["done"]
    assert "retry-after" not in looked.headers


@pytest.mark.parametrize("conversation", [True, False], ids=["conversation", "question"])
async def test_an_answer_that_takes_long_is_202(front: Front, conversation: bool) -> None:
    """After gateway.wait_seconds the caller is told where to look; sent again, the message gets its reply."""
    named = {"conversation": front.new()} if conversation else {}
    app = create_app(front.conversations, settings_on("q", wait_seconds=1.0), NO_STREAMS)
    body = {**said("slow?"), **named, "message_id": front.new()}
    async with http(app) as client:
        response = await client.post("/v1/chat", json=body)
    assert response.status_code == 202, response.text
    told = response.json()
    assert (told["state"], told["message_id"]) == ("running", body["message_id"])
    assert told["trace_url"].startswith(WEB_UI)
    looked = await front.http.get(response.headers["location"])
    assert [turn["message_id"] for turn in looked.json()["turns"]] == [body["message_id"]]
    front.steps.release.set()
    again = await front.http.post("/v1/chat", json=body)
    assert (again.status_code, again.json()["state"]) == (200, "done")
    assert len(front.steps.rows) == 1


async def test_a_gateway_that_stops_lets_nobody_wait(front: Front) -> None:
    """503 says to send the message again, with which id, and the turn goes on without the gateway."""
    stopping = asyncio.Event()
    app: Starlette = create_app(front.conversations, front.settings, NO_STREAMS, stopping=stopping)
    conversation = front.new()
    async with http(app) as client:
        asking = asyncio.create_task(client.post("/v1/chat", json=said("slow?", conversation=conversation)))
        await asyncio.wait_for(front.steps.running.wait(), 10)
        stopping.set()
        response = await asking
    assert response.status_code == 503
    message_id = (await front.conversations.transcript(conversation, "default")).turns[0].message_id
    assert f"message_id {message_id}:" in response.json()["detail"]
    front.steps.release.set()
    again = await front.post(conversation=conversation, message_id=message_id, **said("slow?"))
    assert again.json()["state"] == "done"


async def test_the_running_turn_is_cancelled(front: Front) -> None:
    """DELETE ends it: who waits gets the verdict cancelled, DELETE the turn's number."""
    conversation = front.new()
    asking = asyncio.create_task(front.post(conversation=conversation, **said("slow?")))
    await asyncio.wait_for(front.steps.running.wait(), 10)
    response = await front.http.delete(f"/v1/chat/{conversation}?reason=changed+my+mind")
    assert (response.status_code, response.json()) == (200, {"conversation": conversation, "turn": 1})
    assert (await asking).json()["verdict"] == "cancelled"
    again = await front.http.delete(f"/v1/chat/{conversation}")
    assert (again.status_code, again.json()["type"]) == (409, "/docs#nothing-to-cancel")


async def test_the_transcript_is_read(front: Front) -> None:
    """All turns, or one by its number or its message id."""
    conversation = front.new()
    for index in range(2):
        await front.post(conversation=conversation, message_id=f"m{index}", **said(f"How long? {index}"))
    path = f"/v1/chat/{conversation}"
    assert [turn["turn"] for turn in (await front.http.get(path)).json()["turns"]] == [1, 2]
    assert [turn["question"] for turn in (await front.http.get(f"{path}?turn=2")).json()["turns"]] == ["How long? 1"]
    assert [turn["turn"] for turn in (await front.http.get(f"{path}?message_id=m0")).json()["turns"]] == [1]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_foreign_conversation_is_an_unknown_one(front: Front, method: str) -> None:
    """Another tenant gets the very words that it gets for an id nobody ever used."""
    conversation = front.new()
    await front.post(conversation=conversation)
    foreign = await front.http.request(method, f"/v1/chat/{conversation}?tenant=acme")
    unknown = await front.http.request(method, "/v1/chat/conv-never?tenant=acme")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json()["detail"].replace(conversation, "conv-never") == unknown.json()["detail"]
    assert foreign.json()["type"] == unknown.json()["type"] == "/docs#unknown-conversation"


async def test_a_foreign_tenant_cannot_speak(front: Front) -> None:
    """Nor is it told that the conversation is there."""
    conversation = front.new()
    await front.post(conversation=conversation)
    response = await front.post(conversation=conversation, tenant="acme")
    assert (response.status_code, response.json()["type"]) == (404, "/docs#unknown-conversation")


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("turn=0", 422, "turn"),
        ("turn=one", 422, "turn"),
        ("turn=1&turn=2", 422, "turn"),
        ("trun=1", 422, "trun"),
        ("tenant=other", 404, "tenant"),
        ("tenant=a%20b", 422, "tenant"),
    ],
)
async def test_bad_queries(alone: httpx.AsyncClient, query: str, status: int, field: str) -> None:
    """A parameter is refused by name, as a field is."""
    response = await alone.get(f"/v1/chat/conv-1?{query}")
    assert (response.status_code, response.json()["field"]) == (status, field)


@pytest.mark.parametrize("path", ["/v1/chat/a%20b", "/v1/chat/%00", "/v1/chat/%F0%9F%98%80", f"/v1/chat/{'c' * 200}"])
async def test_an_impossible_conversation_is_an_unknown_one(alone: httpx.AsyncClient, path: str) -> None:
    """No conversation has such an id."""
    response = await alone.get(path)
    assert (response.status_code, response.json()["type"]) == (404, "/docs#unknown-conversation")


async def test_the_log_holds_ids_and_no_text(front: Front, logged: list[dict[str, Any]]) -> None:
    """One line a request: conversation, turn, workflow, status, milliseconds; neither question nor answer."""
    conversation = front.new()
    await front.post(conversation=conversation, **said("How long, dear Parley?"))
    line = next(line for line in logged if line["event"] == "request")
    assert (
        line.items()
        >= {
            "route": "/v1/chat",
            "status": 200,
            "conversation": conversation,
            "workflow_id": conversation,
            "turn": 1,
            "verdict": "pass",
        }.items()
    )
    assert line["milliseconds"] > 0
    assert "dear Parley" not in str(logged)
    assert "30 days" not in str(logged)


async def test_the_line_of_a_stream_says_which_turn_it_was(front: Front, logged: list[dict[str, Any]]) -> None:
    """The caller named the conversation alone; and so does who follows the turn again."""
    conversation = front.new()
    await front.post(conversation=conversation, stream=True, message_id="m-1", **said("How long?"))
    await front.http.get(f"/v1/chat/{conversation}/stream", params={"message_id": "m-1"})
    lines = [line for line in logged if line["event"] == "request"]
    own = ("conversation", "workflow_id", "turn", "verdict")
    assert [tuple(line.get(name) for name in own) for line in lines] == [(conversation, conversation, 1, "pass")] * 2


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_turn_that_no_conversation_comes_to(alone: httpx.AsyncClient, method: str) -> None:
    """A number beyond what is counted is a bad field, and no fault of ours."""
    response = await alone.request(method, "/v1/chat/conv-1", params={"turn": 2**31})
    assert (response.status_code, response.json()["field"]) == (422, "turn")
    assert "must be less than 2147483648" in response.json()["detail"]
