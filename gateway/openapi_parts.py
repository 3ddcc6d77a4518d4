"""What the OpenAPI document is put together from: each route's module gives its :class:`Operations`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.wire import Problem

__all__ = [
    "CONVERSATION",
    "REFERENCE",
    "STRING_HEADER",
    "TEXT",
    "Operations",
    "body",
    "get",
    "json_answer",
    "parameters",
    "problems",
    "ref",
    "schemas",
    "text_answer",
]

REFERENCE = "#/components/schemas/{model}"
TEXT = {"type": "string"}
STRING_HEADER = {"schema": TEXT}
CONVERSATION = {"name": "conversation", "in": "path", "required": True, "schema": TEXT}
_REFUSALS = {
    400: "The body is no JSON object.",
    401: "A key or token that holds is needed.",
    403: "The key or token does not allow this.",
    404: "No such tenant, conversation, turn or model; another tenant's reads the same.",
    408: "The request did not come in time.",
    409: "The conversation's state does not allow it.",
    413: "The body or a message is too long.",
    415: "The body is not sent as JSON.",
    422: "A field has a wrong value.",
    429: "Too much at once. Send it again after `Retry-After` seconds.",
    500: "Something went wrong on our side.",
    503: "Temporal, a worker pool or the records are not there. Safe to send again with the same message_id.",
}
_ALWAYS = (401, 403, 429, 500, 503)
_OF_A_BODY = (400, 408, 413, 415, 422)


@dataclass(frozen=True, slots=True)
class Operations:
    """A part of the document: ``paths``, and the types that they take and send by reference."""

    paths: dict[str, Any]
    taken: tuple[type[BaseModel], ...] = ()
    sent: tuple[type[BaseModel], ...] = field(default=(Problem,))


def schemas(parts: Iterable[Operations]) -> dict[str, Any]:
    """The schemas of all types of ``parts``, by name."""
    parts = list(parts)
    taken = dict.fromkeys(kind for part in parts for kind in part.taken)
    sent = dict.fromkeys(kind for part in parts for kind in part.sent)
    made: dict[str, Any] = {}
    modes: list[tuple[JsonSchemaMode, Iterable[type[BaseModel]]]] = [("validation", taken), ("serialization", sent)]
    for mode, kinds in modes:
        _, found = models_json_schema([(kind, mode) for kind in kinds], ref_template=REFERENCE)
        made |= found["$defs"]
    return made


def ref(kind: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCE.format(model=kind.__name__)}


def body(kind: type[BaseModel]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": ref(kind)}}}


def json_answer(description: str, *kinds: type[BaseModel], headers: Iterable[str] = ()) -> dict[str, Any]:
    """An answer that is one of ``kinds``."""
    schema = ref(kinds[0]) if len(kinds) == 1 else {"anyOf": [ref(kind) for kind in kinds]}
    answer: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {**answer, "headers": dict.fromkeys(headers, STRING_HEADER)} if headers else answer


def text_answer(media_type: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": TEXT}}}


def problems(*statuses: int, of_a_body: bool = False) -> dict[str, Any]:
    """The refusals ``statuses`` beside those that every operation may answer, and those that any body may get."""
    content = {"application/problem+json": {"schema": ref(Problem)}}
    told = sorted({*statuses, *_ALWAYS, *(_OF_A_BODY if of_a_body else ())})
    return {str(status): {"description": _REFUSALS[status], "content": content} for status in told}


def parameters(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """A query's fields as parameters. They are flat, so no schema of theirs refers to another."""
    properties = kind.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def get(operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}
