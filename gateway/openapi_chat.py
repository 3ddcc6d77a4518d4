"""The operations of ``/v1/chat`` as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from dialogue.turn import Transcript
from gateway.event_shapes import EVENT_DATA
from gateway.openapi_events import turn_stream
from gateway.openapi_parts import CONVERSATION, Operations, body, json_answer, parameters, problems
from gateway.wire import (
    Cancelled,
    CancelQuery,
    ChatPending,
    ChatReply,
    ChatRequest,
    Problem,
    StreamQuery,
    TranscriptQuery,
)

__all__ = ["idempotency_parameter", "operations"]

_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that the reader has; what a browser sends by itself.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"},
}


def operations() -> Operations:
    return Operations(
        {
            "/v1/chat": _chat(),
            "/v1/chat/{conversation}": _conversation(),
            "/v1/chat/{conversation}/stream": _stream(),
        },
        taken=(ChatRequest,),
        sent=(ChatReply, ChatPending, Transcript, Cancelled, Problem, *EVENT_DATA.values()),
    )


def idempotency_parameter() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The message id, where the body has none.",
        "schema": ChatRequest.model_json_schema()["properties"]["message_id"]["anyOf"][0],
    }


def _waits() -> dict[str, Any]:
    return json_answer(
        "Accepted. A person has to decide first, or the answer takes longer than was to be waited. "
        "Look at `Location` after `Retry-After` seconds.",
        ChatReply,
        ChatPending,
        headers=("Location", "Retry-After"),
    )


def _chat() -> dict[str, Any]:
    answer = json_answer("The answer; with `stream: true` the turn's events.", ChatReply)
    return {
        "post": {
            "operationId": "say",
            "summary": "Say something and get the answer",
            "description": ChatRequest.__doc__,
            "parameters": [idempotency_parameter()],
            "requestBody": body(ChatRequest),
            "responses": {
                "200": {**answer, "content": answer["content"] | turn_stream()},
                "202": _waits(),
                **problems(404, 409, of_a_body=True),
            },
        }
    }


def _conversation() -> dict[str, Any]:
    return {
        "parameters": [CONVERSATION],
        "get": {
            "operationId": "transcript",
            "summary": "Read a conversation",
            "description": "The turns it carries. `Retry-After` is sent while one of them is not done.",
            "parameters": parameters(TranscriptQuery),
            "responses": {"200": json_answer("The turns.", Transcript), **problems(404, 422)},
        },
        "delete": {
            "operationId": "cancel_turn",
            "summary": "Cancel the running turn",
            "parameters": parameters(CancelQuery),
            "responses": {"200": json_answer("It was cancelled.", Cancelled), **problems(404, 409, 422)},
        },
    }


def _stream() -> dict[str, Any]:
    return {
        "parameters": [CONVERSATION],
        "get": {
            "operationId": "follow_turn",
            "summary": "Follow a turn, again or for the first time",
            "description": StreamQuery.__doc__,
            "parameters": [*parameters(StreamQuery), _LAST_EVENT_ID],
            "responses": {
                "200": {"description": "The turn's events.", "content": turn_stream()},
                **problems(404, 409, 422),
            },
        },
    }
