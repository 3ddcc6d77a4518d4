"""OpenAI's addresses in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from gateway.openai_shapes import Completion, CompletionChunk, CompletionError, ModelList, ServedModel
from gateway.openai_wire import CompletionRequest
from gateway.openapi_chat import idempotency_parameter
from gateway.openapi_events import completion_stream
from gateway.openapi_parts import TEXT, Operations, body, get, json_answer, problems

__all__ = ["operations"]


def operations() -> Operations:
    """Completions and models."""
    whole = json_answer("The answer; with `stream: true` chunks of it, the last of them `[DONE]`.", Completion)
    whole["content"] |= completion_stream()
    model = {"name": "model", "in": "path", "required": True, "schema": TEXT}
    paths = {
        "/v1/chat/completions": {
            "post": {
                "operationId": "create_completion",
                "summary": "The same for OpenAI's clients",
                "description": CompletionRequest.__doc__,
                "parameters": [idempotency_parameter()],
                "requestBody": body(CompletionRequest),
                "responses": {"200": whole, **_errors(404, 409, of_a_body=True)},
            }
        },
        "/v1/models": get(
            "models", "Names and aliases of the models", {"200": json_answer("All.", ModelList), **_errors()}
        ),
        "/v1/models/{model}": {
            "parameters": [model],
            **get("model", "One model", {"200": json_answer("It is there.", ServedModel), **_errors(404)}),
        },
    }
    sent = (Completion, CompletionChunk, CompletionError, ModelList, ServedModel)
    return Operations(paths, taken=(CompletionRequest,), sent=sent)


def _errors(*statuses: int, of_a_body: bool = False) -> dict[str, Any]:
    """In OpenAI's shape. Its clients have 400 for what is 422 elsewhere."""
    told = problems(*statuses, of_a_body=of_a_body)
    told.pop("422", None)
    return {status: json_answer(answer["description"], CompletionError) for status, answer in told.items()}
