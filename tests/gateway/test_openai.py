"""OpenAI's addresses: each field of theirs is honoured or refused by name, answers and faults have their shape."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsBase, CompletionCreateParamsStreaming

from dialogue.faults import (
    ConversationBusy,
    ConversationClosed,
    ParleyFault,
    RecordsUnavailable,
    UnknownConversation,
)
from dialogue.messages import text_digest
from dialogue.steps import NamedFile, ReceivedFile
from gateway.events import TurnEvent
from gateway.openai_answers import CompletionChunks
from gateway.openai_shapes import Completion, CompletionError, ModelList
from gateway.openai_wire import CompletionMessage, CompletionMetadata, CompletionRequest, Only, StreamOptions
from gateway.pulled import Pulled
from gateway.sse import EventStream
from settings.schema import GatewaySettings
from tests.gateway.conftest import Front, Raising
from tests.support.scripted_steps import SAID

ADDRESS = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "How long?"}]}


HELLO = "data:text/plain;base64,SGVsbG8="


def file_part(text: str = "Hello", kind: str = "text/plain") -> dict[str, Any]:
    data = f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
    return {"type": "file", "file": {"filename": "terms.txt", "file_data": data}}


def _brings(file: dict[str, Any], role: str = "user") -> dict[str, Any]:
    said = {"role": role, "content": [{"type": "text", "text": "What?"}, {"type": "file", "file": file}]}
    return {"messages": [said, {"role": "user", "content": "x"}] if role != "user" else [said]}


def asked(content: str, tenant: str = "default", **more: Any) -> dict[str, Any]:
    metadata = {"tenant": tenant, **more.pop("metadata", {})}
    return {"model": "default", "messages": [{"role": "user", "content": content}], "metadata": metadata, **more}


async def streamed(front: Front, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks; every one is what OpenAI's client takes, and the stream is closed as it expects."""
    response = await front.http.post(ADDRESS, json={**body, "stream": True})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    return chunks


def put_together(chunks: list[dict[str, Any]]) -> tuple[str, str, str | None]:
    """Content, reasoning and finish reason, as a client puts them together."""
    content, reasoning, finish = "", "", None
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        assert finish is None, "something came behind the finish reason"
        content += choice["delta"].get("content") or ""
        reasoning += choice["delta"].get("reasoning_content") or ""
        finish = choice["finish_reason"]
    return content, reasoning, finish


# answers ---------------------------------------------------------------------------------------------


async def test_a_whole_answer(front: Front) -> None:
    """OpenAI's shape, and beside it what Parley knows of the turn."""
    response = await front.http.post(ADDRESS, json=asked("How long?"), headers={"X-Request-Id": "mine-1"})
    body = response.json()
    told = ChatCompletion.model_validate(body, strict=True)
    assert Completion.model_validate(body).model_dump(mode="json", exclude_unset=True) == body
    assert told.choices[0].message.content == f"{SAID} (0)"
    assert told.choices[0].finish_reason == "stop"
    assert told.id == f"chatcmpl-{body['parley']['message_id']}"
    assert told.model == "scripted"
    assert told.system_fingerprint == "fp_dddddddddddd"
    assert told.usage is not None
    assert (told.usage.prompt_tokens, told.usage.completion_tokens, told.usage.total_tokens) == (20, 8, 28)
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}
    assert body["parley"]["verdict"] == "pass"
    assert body["parley"]["trace_url"].endswith(f"/{body['parley']['workflow_id']}/{body['parley']['run_id']}")
    assert response.headers["x-request-id"] == "mine-1"


async def test_a_file_is_read_with_its_message(front: Front) -> None:
    """It comes to the model, the review and the audit; with an earlier message too, whose history the request is."""
    first = {
        "role": "user",
        "content": [{"type": "text", "text": "How long?"}, file_part("Thirty days.", "text/markdown")],
    }
    history = [first, {"role": "assistant", "content": "Thirty days."}, {"role": "user", "content": "Sure?"}]
    for messages in ([first], history):
        response = await front.http.post(ADDRESS, json={**BODY, "messages": messages})
        assert response.status_code == 200, response.text
        told = response.json()["parley"]
        row = front.steps.rows[told["conversation"], 1]
        digest = text_digest("Thirty days.")
        assert row.files == (NamedFile(name="terms.txt", digest=digest),)
        assert row.question_digest != text_digest(row.question)
        seen = ReceivedFile(name="terms.txt", text="Thirty days.", digest=digest)
        for step in ("generate_answer", "review_answer"):
            assert front.steps.called(step)[-1].files == (seen,)
    assert front.steps.called("generate_answer")[-1].question == "Sure?"


async def test_a_message_id_stands_for_the_file_too(front: Front) -> None:
    """The same text with another file is another message; in a conversation only the message's own file is read."""
    conversation = front.new()

    async def say(text: str, *messages: dict[str, Any]) -> httpx.Response:
        said = {"role": "user", "content": [{"type": "text", "text": "How long?"}, file_part(text)]}
        body = {"conversation": conversation, "message_id": "m-1", "messages": [*messages, said]}
        return await front.http.post("/v1/chat", json=body)

    earlier = {"role": "user", "content": [{"type": "text", "text": "Earlier"}, file_part("Earlier")]}
    first, again, other = await say("one", earlier), await say("one"), await say("two")
    assert [first.status_code, again.status_code, other.status_code] == [200, 200, 409]
    assert first.json()["turn"] == again.json()["turn"] == 1
    assert [file.text for file in front.steps.called("generate_answer")[-1].files] == ["one"]


async def test_a_streamed_answer(front: Front) -> None:
    """The draft as it is made, then what the answer has beyond it; the last chunk tells of the turn."""
    chunks = await streamed(front, asked("How long?", "open"))
    assert put_together(chunks) == (f"{SAID} (0)", "", "stop")
    assert len(chunks) > len(SAID.split())
    assert [chunk for chunk in chunks if "parley" in chunk] == [chunks[-1]]
    assert chunks[-1]["parley"]["answer"] == f"{SAID} (0)"
    assert chunks[-1]["model"] == "scripted"
    assert chunks[-1]["system_fingerprint"] == "fp_dddddddddddd"
    assert not any("usage" in chunk for chunk in chunks)


async def test_usage_of_a_stream_where_it_is_wanted(front: Front) -> None:
    """One more chunk without a choice, and null in all others, as OpenAI has it."""
    chunks = await streamed(front, asked("How long?", "open", stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 28
    assert {json.dumps(chunk["usage"]) for chunk in chunks[:-1]} == {"null"}


async def test_nothing_is_sent_before_the_review(front: Front) -> None:
    """In after-review the answer is one delta."""
    chunks = await streamed(front, asked("How long?"))
    assert [text for chunk in chunks if (text := chunk["choices"][0]["delta"].get("content"))] == [f"{SAID} (0)"]


async def test_a_retry_is_never_sent_behind_the_draft_before_it(front: Front) -> None:
    """The first draft was withdrawn; the answer begins as it did, so the rest of it can be sent."""
    assert put_together(await streamed(front, asked("That goes bad.", "open"))) == (f"{SAID} (2)", "", "stop")


@pytest.mark.parametrize("question", ["block this", "This is doubtful."])
async def test_another_answer_than_was_sent_is_told_apart(front: Front, question: str) -> None:
    """What was sent cannot be taken back: the stream ends as filtered, and the answer that stands is beside it."""
    chunks = await streamed(front, asked(question, "open", metadata={"conversation": front.new()}))
    content, _, finish = put_together(chunks)
    assert (content, finish) == (SAID, "content_filter")
    assert chunks[-1]["parley"]["answer"].startswith("(")


@pytest.mark.parametrize("question", ["block this", "refuse this"])
async def test_what_is_refused_or_blocked_is_filtered(front: Front, question: str) -> None:
    """With the text that a person is to read."""
    choice = (await front.http.post(ADDRESS, json=asked(question))).json()["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    content, _, finish = put_together(await streamed(front, asked(question)))
    assert (content, finish) == (choice["message"]["content"], "content_filter")


async def test_a_lost_log_costs_the_stream_and_not_the_answer(front: Front) -> None:
    front.steps.token_log = None
    assert put_together(await streamed(front, asked("How long?", "open"))) == (f"{SAID} (0)", "", "stop")


FINAL: dict[str, Any] = {
    "answer": "One two.",
    "reasoning": "Hm.",
    "verdict": "pass",
    "message_id": "m",
    "model": None,
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "reasoning_tokens": 1, "total_tokens": 3},
}
ORDERS: dict[str, tuple[list[tuple[str, Any]], dict[str, Any], tuple[str, str, str]]] = {
    "as sent": ([("reasoning", "Hm."), ("token", "One "), ("token", "two.")], {}, ("One two.", "Hm.", "stop")),
    "nothing sent": ([], {}, ("One two.", "Hm.", "stop")),
    "cut off": ([("token", "One ")], {"finish_reason": "length"}, ("One two.", "", "length")),
    "reworded, nothing withdrawn": ([("token", "One 2.")], {}, ("One 2.", "", "stop")),
    "withdrawn, begins alike": (
        [("token", "One "), ("retract", None), ("retry", None), ("token", "Three.")],
        {},
        ("One two.", "", "stop"),
    ),
    "withdrawn, differs": (
        [("reasoning", "Ah."), ("token", "No."), ("retract", None), ("reasoning", "Hm."), ("token", "One")],
        {},
        ("No.", "Ah.", "content_filter"),
    ),
    "thoughts alone withdrawn": (
        [("reasoning", "Ah."), ("retract", None), ("reasoning", "Hm."), ("token", "One")],
        {},
        ("One two.", "Ah.", "stop"),
    ),
    "blocked": ([("retract", None)], {"verdict": "block", "answer": "No."}, ("No.", "", "content_filter")),
}


@pytest.mark.parametrize(("events", "final", "expected"), ORDERS.values(), ids=ORDERS.keys())
def test_what_a_client_puts_together(
    events: list[tuple[str, Any]], final: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    """Either the answer that stands, or what it was told of before that was withdrawn, and that it was; never a text
    of both."""
    if final.get("verdict") == "block":
        final = {**final, "reasoning": ""}
    chunks = CompletionChunks("m", "default", with_usage=False)
    told = [TurnEvent(n, kind, {"text": text} if text else {}) for n, (kind, text) in enumerate(events)]
    written = b"".join(chunks.event(event) for event in [*told, TurnEvent(99, "final", {**FINAL, **final})])
    sent = [json.loads(line.removeprefix("data: ")) for line in written.decode().split("\n\n") if line]
    assert put_together(sent) == expected
    assert sent[-1]["parley"]["answer"] == {**FINAL, **final}["answer"]


# what is asked ---------------------------------------------------------------------------------------


async def test_fields_reach_the_turn(front: Front) -> None:
    """Under the names that OpenAI and its metadata have for them."""
    conversation = front.new()
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "long?"}]},
    ]
    more = {"tenant": "open", "conversation": conversation, "message_id": "m-7"}
    body = {**asked("", metadata=more), "messages": messages, "user": "ann", "seed": 11, "max_completion_tokens": 32}
    told = (await front.http.post(ADDRESS, json={**body, "temperature": 0.5})).json()
    assert (told["id"], told["parley"]["conversation"]) == ("chatcmpl-m-7", conversation)
    row = front.steps.rows[conversation, 1]
    assert (row.turn.tenant, row.user, row.question, row.message_id) == ("open", "ann", "How\nlong?", "m-7")
    request = front.steps.called("receive_input")[0]
    assert (request.seed, request.temperature, request.max_new_tokens) == (11, 0.5, 32)


async def test_an_answer_comes_back_as_history(front: Front) -> None:
    """As a client has it: with fields that are null, and with the reasoning, which the model is not shown again."""
    answer = (await front.http.post(ADDRESS, json=BODY)).json()["choices"][0]["message"]
    spoken = {**answer, "reasoning_content": "secret thoughts", "tool_calls": None, "annotations": []}
    body = {**BODY, "messages": [*BODY["messages"], spoken, {"role": "user", "content": "Sure?"}]}
    response = await front.http.post(ADDRESS, json=body)
    assert response.status_code == 200, response.text
    assert not any("secret thoughts" in str(argument) for _, argument in front.steps.calls)


@pytest.mark.parametrize("conversation", [None, "new", "given"])
async def test_the_same_message_is_answered_once(front: Front, conversation: str | None) -> None:
    """Under an Idempotency-Key or a message id of the metadata, whole or streamed."""
    name = front.new() if conversation == "given" else conversation
    body = asked("How long?", metadata={"conversation": name} if name else {})
    first = (await front.http.post(ADDRESS, json=body, headers={"Idempotency-Key": "k-1"})).json()
    body["metadata"]["message_id"] = "k-1"
    again = await streamed(front, body)
    assert again[-1]["parley"]["conversation"] == first["parley"]["conversation"]
    assert again[-1]["parley"]["answer"] == first["choices"][0]["message"]["content"]
    assert len(front.steps.called("generate_answer")) == 1


def test_each_field_of_openais_client_is_known() -> None:
    """So that none is ever called unknown, nor taken without a word in the documentation."""
    theirs = CompletionCreateParamsBase.__annotations__.keys() | CompletionCreateParamsStreaming.__annotations__.keys()
    assert theirs == CompletionRequest.model_fields.keys()


@pytest.mark.parametrize("page", ["openai-api.md", "zh-CN/openai-api.md"])
def test_the_documentation_names_each_field(repository: Path, page: str) -> None:
    """In its table of what is honoured and what is refused."""
    text = (repository / "docs" / page).read_text("utf-8")
    named = {name for row in re.findall(r"^\| (.+?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert CompletionRequest.model_fields.keys() <= named
    assert CompletionMetadata.model_fields.keys() <= set(re.findall(r"`(\w+)`", text))


REFUSED = {
    name: only
    for name, field in CompletionRequest.model_fields.items()
    for only in field.metadata
    if isinstance(only, Only)
}
ODD = {"n": [2, True, "1"], "presence_penalty": [0.1, False], "store": [True, 0], "modalities": [["text", "audio"]]}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_field_that_is_refused(alone: httpx.AsyncClient, name: str) -> None:
    """By its name and with the way out; but not with a value that asks for nothing."""
    for value in ODD.get(name, ["given"]):
        response = await alone.post(ADDRESS, json={**BODY, name: value})
        error = response.json()["error"]
        assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", name)
        assert error["message"] == f"{name}: {REFUSED[name].why}."
    for value in (None, *REFUSED[name].accepted):
        CompletionRequest.model_validate({**BODY, name: value})


BAD: list[tuple[dict[str, Any], int, str, str]] = [
    ({"messages": []}, 400, "messages", "must be a list of at least 1"),
    ({"model": None}, 400, "model", "must be text, but is null."),
    ({"model": "gpt-9"}, 404, "model", "there is no model gpt-9. There are: default, "),
    ({"top_k": 4}, 400, "top_k", "no such field."),
    ({"temperature": 2.5}, 400, "temperature", "must be at most 2, but is 2.5."),
    ({"seed": -1}, 400, "seed", "must be at least 0"),
    ({"max_tokens": 1, "max_completion_tokens": 2}, 400, "max_tokens", "is another word for max_completion_tokens"),
    ({"stream_options": {"include_usage": True}}, 400, "stream_options", "is for streams."),
    (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        400,
        "stream_options.include_obfuscation",
        "chunks are not padded.",
    ),
    ({"user": "ann", "metadata": {"user": "bob"}}, 400, "user", "differs from metadata.user."),
    ({"user": "a b"}, 400, "user", "must be letters, digits"),
    ({"metadata": {"topic": "shoes"}}, 400, "metadata.topic", "no such field."),
    ({"metadata": {"conversation": 7}}, 400, "metadata.conversation", "must be text, but is 7."),
    ({"metadata": {"tenant": "other"}}, 404, "tenant", "there is no tenant other."),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role", "must be 'system', 'developer', 'us"),
    ({"messages": [{"role": "function", "content": "x"}]}, 400, "messages.0.role", "must be 'system', "),
    ({"messages": [{"role": "user", "content": "x", "name": "ann"}]}, 400, "messages.0.name", "speakers are told"),
    (
        {"messages": [{"role": "assistant", "content": "x", "tool_calls": [{}]}]},
        400,
        "messages.0.tool_calls",
        "tools are",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        400,
        "messages.0.content",
        "part 0 has the type image_url.",
    ),
    ({"messages": [{"role": "user", "content": ["x"]}]}, 400, "messages.0.content", "part 0 has no type."),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]},
        400,
        "messages.0.content",
        "part 0 must be",
    ),
    (
        _brings({"filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="}),
        400,
        "messages.0.content",
        "part 1: file_data begins with 'data:application/pdf;base64'. Send text",
    ),
    (
        _brings({"filename": "a", "file_data": "data:text/plain;base64,abc"}),
        400,
        "messages.0.content",
        "part 1: file_data is empty or no base64",
    ),
    (
        _brings({"filename": "a", "file_data": "data:text/plain;base64,/w=="}),
        400,
        "messages.0.content",
        "part 1: file_data is no UTF-8",
    ),
    (
        _brings({"filename": "a\nb", "file_data": HELLO}),
        400,
        "messages.0.content",
        "part 1: filename: must be one line",
    ),
    (_brings(file_part("a\0b")["file"]), 400, "messages.0.content", "part 1: file_data holds U+0000"),
    (_brings({"file_id": "file-1"}), 400, "messages.0.content", "part 1 has a file_id"),
    (_brings({"filename": "a"}), 400, "messages.0.content", "part 1 must be an object of type and file"),
    ({"messages": [{"role": "user", "content": [file_part()]}]}, 400, "messages.0.content", "brings a file and asks"),
    (_brings(file_part()["file"], role="assistant"), 400, "messages.0.content", "brings a file in the role assistant"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, *[file_part()] * 5]}]},
        400,
        "messages",
        "bring 5 files. Send at most 4.",
    ),
    (_brings(file_part("x" * 8001)["file"]), 413, "messages", "bring files of 8001 characters together."),
    ({"messages": [{"role": "user", "content": []}]}, 400, "messages.0.content", "is empty."),
    ({"messages": [{"role": "user", "content": "x" * 8001}]}, 413, "messages.0.content", "has 8001 characters."),
]


@pytest.mark.parametrize(("more", "status", "param", "message"), BAD, ids=[f"{n}-{b[2]}" for n, b in enumerate(BAD)])
async def test_bad_fields(
    alone: httpx.AsyncClient, more: dict[str, Any], status: int, param: str, message: str
) -> None:
    """Each is told by name in OpenAI's shape, before anything is asked of Temporal."""
    response = await alone.post(ADDRESS, json={**BODY, **more})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    assert error["message"].startswith(f"{param}: {message}")
    assert response.headers["x-should-retry"] == "false"


def test_every_refusal_says_the_way_out() -> None:
    """One sentence of what holds here, and one of what to do."""
    kinds = (CompletionRequest, CompletionMessage, StreamOptions)
    fields = [field for kind in kinds for field in kind.model_fields.values()]
    whys = [only.why for field in fields for only in field.metadata if isinstance(only, Only)]
    assert len(whys) > 30
    for why in whys:
        assert re.search(r"Leave it out|[Ss]end|say ", why), why


# faults ----------------------------------------------------------------------------------------------

FAULTS: list[tuple[ParleyFault, int, str, str]] = [
    (ConversationBusy("conversation: 8 wait already."), 429, "rate_limit_error", "conversation_busy"),
    (ConversationClosed("conversation: is closed."), 409, "invalid_request_error", "conversation_closed"),
    (UnknownConversation("conversation: there is none."), 404, "invalid_request_error", "unknown_conversation"),
    (RecordsUnavailable("temporal: is away."), 503, "server_error", "records_unavailable"),
    (ParleyFault("secret"), 500, "server_error", "fault"),
]


@pytest.mark.parametrize(("fault", "status", "kind", "code"), FAULTS, ids=[fault[3] for fault in FAULTS])
@pytest.mark.parametrize("stream", [False, True])
async def test_faults_have_openais_shape(
    alone: httpx.AsyncClient, raising: Raising, fault: ParleyFault, status: int, kind: str, code: str, stream: bool
) -> None:
    """Of a stream too, where nothing was sent yet. Sent again by itself is only what is then not answered twice."""
    raising.fault = fault
    body = {**BODY, "metadata": {"conversation": "c-1"}}
    bare = await alone.post(ADDRESS, json=body)
    error = bare.json()["error"]
    assert CompletionError.model_validate(bare.json()).model_dump(exclude_unset=True) == bare.json()
    assert (bare.status_code, error["type"], error["code"]) == (status, kind, code)
    assert "secret" not in bare.text
    assert bare.headers["content-type"] == "application/json"
    assert bare.headers["x-request-id"]
    assert bare.headers["x-should-retry"] == ("true" if status == 429 else "false")
    assert ("retry-after" in bare.headers) is (status in (429, 503))
    keyed = await alone.post(ADDRESS, json=body, headers={"Idempotency-Key": "k"})
    assert keyed.headers["x-should-retry"] == ("true" if status in (429, 503) else "false")


async def test_an_unforeseen_error_has_it_too(alone: httpx.AsyncClient, raising: Raising) -> None:
    """And says nothing of itself; it may have happened behind the start of a turn, so it is not sent again."""
    raising.fault = RuntimeError("the user's own words")
    response = await alone.post(ADDRESS, json=BODY)
    assert (response.status_code, response.json()["error"]["type"]) == (500, "server_error")
    assert "own words" not in response.text
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status"),
    [
        ("GET", ADDRESS, b"", "application/json", 405),
        ("POST", "/v1/models", b"", "application/json", 405),
        ("GET", "/v1/models/gpt-9", b"", "application/json", 404),
        ("GET", "/v1/models/some/one", b"", "application/json", 404),
        ("POST", ADDRESS, b"{", "application/json", 400),
        ("POST", ADDRESS, b"[]", "application/json", 400),
        ("POST", ADDRESS, b"a=1", "application/x-www-form-urlencoded", 415),
        ("POST", ADDRESS, b" " * 1_000_001, "application/json", 413),
    ],
)
async def test_what_is_no_request_has_it_too(
    alone: httpx.AsyncClient, method: str, path: str, content: bytes, kind: str, status: int
) -> None:
    response = await alone.request(method, path, content=content, headers={"Content-Type": kind})
    assert (response.status_code, response.json()["error"]["type"]) == (status, "invalid_request_error")
    assert response.headers["content-length"] == str(len(response.content))


async def read(events: AsyncGenerator[TurnEvent, None], heartbeat_seconds: float) -> str:
    chunks = CompletionChunks("m", "default", with_usage=False)
    stream = EventStream(Pulled(events), GatewaySettings(heartbeat_seconds=heartbeat_seconds or 1e-6), chunks)
    return "".join([bytes(part).decode() async for part in stream.body_iterator])


async def test_a_fault_in_the_middle_ends_the_stream() -> None:
    """The status went out before it; it comes as OpenAI's clients expect one, and nothing is behind it."""

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield TurnEvent(1, "token", {"text": "You"})
        raise RecordsUnavailable("temporal: is away.")

    *_, last, rest = (await read(events(), 60)).split("\n\n")
    assert rest == ""
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["message"]) == ("server_error", "temporal: is away.")


async def test_a_stream_that_holds_back_says_that_it_lives() -> None:
    """Tokens behind a withdrawn text are not sent, and a proxy must not take that for a dead stream."""

    async def events() -> AsyncGenerator[TurnEvent, None]:
        yield TurnEvent(1, "token", {"text": "You"})
        yield TurnEvent(2, "retract", {})
        yield TurnEvent(3, "token", {"text": "We"})

    assert ": still here" in await read(events(), 0)
    assert ": still here" not in await read(events(), 60)


# models ----------------------------------------------------------------------------------------------


async def test_models_are_listed(alone: httpx.AsyncClient) -> None:
    """Names and aliases, each as OpenAI tells a model."""
    told = (await alone.get("/v1/models")).json()
    assert ModelList.model_validate(told).model_dump(mode="json") == told
    models = [Model.model_validate(one, strict=True) for one in told["data"]]
    names = [model.id for model in models]
    assert (names[0], "canary-model" in names) == ("default", True)
    for model in models:
        assert (await alone.get(f"/v1/models/{model.id}")).json() == model.model_dump(exclude_unset=True)
