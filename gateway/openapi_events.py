"""Server-sent events in the OpenAPI document. Until 3.2 ``schema`` is all there is for a stream, and readers take it as
that of each event: an object of its fields, the JSON in ``data`` described by ``contentSchema``."""

from __future__ import annotations

from typing import Any

from gateway.event_shapes import EVENT_DATA
from gateway.openai_shapes import CompletionChunk, CompletionError
from gateway.openapi_parts import TEXT, ref

__all__ = ["completion_stream", "turn_stream"]

_LINES = (
    "Each event is the lines `id: …` (a number that grows within the turn), `event: …` (its kind) and `data: …` (one "
    "line of JSON), and an empty line behind them. A line that begins with a colon is a sign of life. "
    "The last event is `final` or `error`."
)
_CHUNK_LINES = (
    "Each event is a line `data: …` and an empty line behind it: chunks of the answer as JSON, then `[DONE]`; or an "
    "error, which is the last. A line that begins with a colon is a sign of life."
)


def turn_stream() -> dict[str, Any]:
    """The content of an answer that follows a turn."""
    event = {"description": _LINES, "oneOf": [_event(kind, ref(data)) for kind, data in EVENT_DATA.items()]}
    return {"text/event-stream": {"schema": event}}


def completion_stream() -> dict[str, Any]:
    """The same as OpenAI's clients take it."""
    told = {"anyOf": [{"const": "[DONE]"}, _json({"anyOf": [ref(CompletionChunk), ref(CompletionError)]})]}
    event = {
        "description": _CHUNK_LINES,
        "type": "object",
        "required": ["data"],
        "properties": {"data": {**TEXT, **told}},
    }
    return {"text/event-stream": {"schema": event}}


def _event(kind: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {"id": {**TEXT, "pattern": "^[0-9]+$"}, "event": {"const": kind}, "data": _json(data)},
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {**TEXT, "contentMediaType": "application/json", "contentSchema": schema}
