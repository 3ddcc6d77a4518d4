"""The OpenAPI 3.1 document: schemas from the types that the gateway reads and writes, operations by hand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from dialogue.faults import ParleyFault, all_faults
from dialogue.turn import Transcript
from gateway.openai_shapes import Completion, CompletionError, ModelList, ServedModel
from gateway.openai_wire import CompletionRequest
from gateway.problems import problem_type
from gateway.wire import (
    Cancelled,
    CancelQuery,
    ChatPending,
    ChatReply,
    ChatRequest,
    Health,
    Problem,
    Readiness,
    TranscriptQuery,
)

__all__ = ["VERSION", "document"]

VERSION = "0.1.0"
_REFERENCE = "#/components/schemas/{model}"
_TEXTS = {"type": "string"}
_STRING_HEADER = {"schema": _TEXTS}
_TAKEN: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ChatRequest, "validation"), (CompletionRequest, "validation")]
_SENT: list[tuple[type[BaseModel], JsonSchemaMode]] = [
    (kind, "serialization")
    for kind in (
        ChatReply,
        ChatPending,
        Transcript,
        Cancelled,
        Health,
        Readiness,
        Problem,
        Completion,
        CompletionError,
        ModelList,
        ServedModel,
    )
]
_REFUSALS = {
    400: "The body is no JSON object.",
    404: "No such tenant, conversation or model.",
    405: "The address does not take this method.",
    409: "The conversation's state does not allow it.",
    413: "The body or a message is too long.",
    415: "The body is not sent as JSON.",
    422: "A field has a wrong value.",
    429: "Too many messages wait in this conversation.",
    503: "Temporal or a worker pool is not there. Safe to send again with the same message_id.",
}


def document() -> dict[str, Any]:
    """The document as a JSON object."""
    schemas: dict[str, Any] = {}
    for kinds in (_TAKEN, _SENT):
        _, made = models_json_schema(kinds, ref_template=_REFERENCE)
        schemas |= made["$defs"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parley",
            "version": VERSION,
            "summary": "Durable conversations as Temporal workflows",
            "description": _faults_table(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {"/v1/chat": _chat(), "/v1/chat/{conversation}": _conversation(), **_openai(), **_operational()},
        "components": {"schemas": schemas},
    }


def _chat() -> dict[str, Any]:
    waits = {
        "description": "Accepted. A person has to decide first, or the answer takes longer than "
        "`gateway.wait_seconds`. Look at `Location` after `Retry-After` seconds.",
        "headers": {"Location": _STRING_HEADER, "Retry-After": _STRING_HEADER},
        "content": {"application/json": {"schema": {"anyOf": [_ref(ChatReply), _ref(ChatPending)]}}},
    }
    return {
        "post": {
            "operationId": "say",
            "summary": "Say something and get the answer",
            "description": ChatRequest.__doc__,
            "parameters": [_idempotency_key()],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(ChatRequest)}}},
            "responses": {
                "200": _json("The answer.", ChatReply),
                "202": waits,
                **_problems(400, 404, 409, 413, 415, 422, 429, 503),
            },
        }
    }


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The message id, where the body has none.",
        "schema": ChatRequest.model_json_schema()["properties"]["message_id"]["anyOf"][0],
    }


def _openai() -> dict[str, Any]:
    whole = _json("The answer; with `stream: true` chunks of it, the last of them `[DONE]`.", Completion)
    whole["content"]["text/event-stream"] = {"schema": _TEXTS}
    model = {"name": "model", "in": "path", "required": True, "schema": _TEXTS}
    listed = _get("models", "Names and aliases of the models", {"200": _json("All.", ModelList), **_openai_errors()})
    one = _get("model", "One model", {"200": _json("It is there.", ServedModel), **_openai_errors(404)})
    return {
        "/v1/chat/completions": {
            "post": {
                "operationId": "create_completion",
                "summary": "The same for OpenAI's clients",
                "description": CompletionRequest.__doc__,
                "parameters": [_idempotency_key()],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _ref(CompletionRequest)}},
                },
                "responses": {"200": whole, **_openai_errors(400, 404, 409, 413, 415, 429, 503)},
            }
        },
        "/v1/models": listed,
        "/v1/models/{model}": {"parameters": [model], **one},
    }


def _openai_errors(*statuses: int) -> dict[str, Any]:
    """OpenAI's clients have 400 for what is 422 elsewhere."""
    words = {**_REFUSALS, 400: "A field has a wrong value, or the body is no JSON object."}
    told = {str(status): _json(words[status], CompletionError) for status in statuses}
    return {**told, "default": _json("Any other problem.", CompletionError)}


def _conversation() -> dict[str, Any]:
    conversation = {"name": "conversation", "in": "path", "required": True, "schema": _TEXTS}
    return {
        "parameters": [conversation],
        "get": {
            "operationId": "transcript",
            "summary": "Read a conversation",
            "description": "The turns it carries. `Retry-After` is sent while one of them is not done.",
            "parameters": _parameters(TranscriptQuery),
            "responses": {"200": _json("The turns.", Transcript), **_problems(404, 422, 503)},
        },
        "delete": {
            "operationId": "cancel_turn",
            "summary": "Cancel the running turn",
            "parameters": _parameters(CancelQuery),
            "responses": {"200": _json("It was cancelled.", Cancelled), **_problems(404, 409, 422, 503)},
        },
    }


def _operational() -> dict[str, Any]:
    ready = {"200": _json("A message would be answered now.", Readiness), "503": _json("What is missing.", Readiness)}
    return {
        "/healthz": _get("alive", "Whether the process is alive", {"200": _json("It is.", Health)}),
        "/readyz": _get("ready", "Whether Temporal and the worker pools are there", ready),
        "/metrics": _get("metrics", "Prometheus metrics", {"200": _text("text/plain", "Text format 0.0.4.")}),
        "/openapi.json": _get(
            "openapi",
            "This document",
            {"200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}},
        ),
        "/docs": _get("docs", "The operations and the problems, to read", {"200": _text("text/html", "A page.")}),
        "/": _get("index", "Where things are", {"200": _text("text/html", "A page.")}),
    }


def _get(operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _ref(kind: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=kind.__name__)}


def _json(description: str, kind: type[BaseModel]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(kind)}}}


def _text(media_type: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": _TEXTS}}}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref(Problem)}}
    told = {str(status): {"description": _REFUSALS[status], "content": content} for status in statuses}
    return {**told, "default": {"description": "Any other problem.", "content": content}}


def _parameters(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """A query's fields as parameters. They are flat, so no schema of theirs refers to another."""
    properties = kind.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _faults_table() -> str:
    lines = [
        "Problems are told as RFC 9457 problem details. Their types:",
        "",
        "| type | status | title |",
        "|---|---|---|",
    ]
    lines += [f"| `{problem_type(fault)}` | {fault.status} | {fault.title} |" for fault in documented_faults()]
    return "\n".join(lines)


def documented_faults() -> list[type[ParleyFault]]:
    """All of them, by type."""
    return [fault for _, fault in sorted(all_faults().items())]
