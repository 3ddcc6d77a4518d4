"""The document tells what each event of a stream holds, and that is what is sent."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator

from dialogue.faults import ParleyFault
from dialogue.turn import FINAL_FIELDS, Reply
from gateway.event_shapes import EVENT_DATA
from gateway.events import error_event
from gateway.openapi import document
from records.token_log import EVENT_KINDS
from tests.gateway.conftest import Front
from tests.gateway.test_openai import asked, streamed
from tests.gateway.test_streams import events_of, said


def _wrong(name: str, value: Any) -> list[Any]:
    found = OAS31Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})
    return [error.message for error in found.iter_errors(value)]


def _events() -> dict[str, str]:
    """From the kind of an event to the component that its data is of, as the document has them."""
    followed = document()["paths"]["/v1/chat/{conversation}/stream"]["get"]["responses"]["200"]
    schema = followed["content"]["text/event-stream"]["schema"]
    fields = [event["properties"] for event in schema["oneOf"]]
    return {each["event"]["const"]: each["data"]["contentSchema"]["$ref"].rpartition("/")[2] for each in fields}


def test_every_kind_is_described() -> None:
    """No other, and each by what it holds."""
    assert set(EVENT_KINDS) == set(EVENT_DATA) == set(_events())


def test_the_last_event_is_of_the_reply() -> None:
    """What the last step writes, what the gateway makes of a reply and what is documented have the same fields."""
    assert set(EVENT_DATA["final"].model_fields) == FINAL_FIELDS | {"trace_url"}
    assert set(Reply.model_fields) >= FINAL_FIELDS


@pytest.mark.parametrize(
    "content", ["How long?", "Please repeat that.", "This is doubtful.", "refuse this", "greeting", "unreadable"]
)
@pytest.mark.parametrize("tenant", ["default", "open", "gated"])
async def test_events_are_as_described(front: Front, content: str, tenant: str) -> None:
    """Whatever becomes of the turn, and however much of it is shown."""
    response = await front.http.post("/v1/chat", json=said(content, tenant=tenant, conversation=front.new()))
    shapes, events = _events(), events_of(response.text)
    assert events, response.text
    wrong = {kind: found for _, kind, data in events if (found := _wrong(shapes[kind], data))}
    assert not wrong


def test_a_fault_within_a_stream_is_as_described() -> None:
    """With a field or without."""
    for fault in (ParleyFault("x"), ParleyFault("x: y", field="x")):
        assert not _wrong(_events()["error"], error_event(1, fault).data)


def test_other_data_is_not_as_described() -> None:
    """The description says something."""
    assert _wrong(_events()["retry"], {"number": 2, "why": ""})
    assert _wrong(_events()["final"], {"answer": "x"})


@pytest.mark.parametrize("content", ["How long?", "refuse this"])
async def test_chunks_are_as_described(front: Front, content: str) -> None:
    """For OpenAI's clients, usage included."""
    chunks = await streamed(front, asked(content, stream_options={"include_usage": True}))
    assert not [found for chunk in chunks if (found := _wrong("CompletionChunk", chunk))]
