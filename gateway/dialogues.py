"""``/v1/dialogues``: a one-shot is started and looked at; its caller need not wait, and may be told by a webhook."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dialogue.turn import Reply
from gateway import validation
from gateway.addresses import client_address
from gateway.chat import (
    LOOK_AGAIN_SECONDS,
    PERSON_SECONDS,
    body_of,
    caller_of,
    chat_reply,
)
from gateway.conversations import Broken, Pending
from gateway.core import Core
from gateway.identifiers import idempotency_key, known_conversation
from gateway.openapi_chat import idempotency_parameter
from gateway.openapi_parts import Operations, body, json_answer, parameters, problems
from gateway.wire import DialogueRequest, DialogueStatus, Problem, TenantQuery

__all__ = ["operations", "routes"]

_AGAIN_SECONDS = {"running": LOOK_AGAIN_SECONDS, "waiting": PERSON_SECONDS}
_WEBHOOK: dict[str, Any] = {
    "operationId": "dialogue_answered",
    "summary": "What your webhook receives",
    "description": "Signed as standardwebhooks.com has it, where the tenant has a secret. Any answer 2xx takes it; "
    "redirects and 410 end it, others are tried again for hours.",
    "parameters": [
        {"name": name, "in": "header", "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ],
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "data"],
                    "properties": {
                        "type": {"enum": ["dialogue.answered"]},
                        "timestamp": {"type": "number"},
                        "data": {"type": "object", "description": "The reply, as GET /v1/dialogues gives it."},
                    },
                }
            }
        }
    },
    "responses": {"200": {"description": "Taken."}},
}


def routes(core: Core) -> list[Route]:
    """Its routes."""

    async def start(request: Request) -> Response:
        given = validation.parse(DialogueRequest, await body_of(request, core))
        address = client_address(request.scope, core.settings.gateway)
        tenant, found = await core.start(
            caller_of(request), given, message_id=idempotency_key(request.headers), address=address
        )
        return _answered(core, request, tenant, found, unanswered=202)

    async def look(request: Request) -> Response:
        dialogue = known_conversation(request.path_params["dialogue"])
        query = validation.parse_query(TenantQuery, request.query_params.multi_items())
        tenant, found = await core.dialogue(caller_of(request), dialogue, query.tenant)
        return _answered(core, request, tenant, found, unanswered=200)

    return [
        Route("/v1/dialogues", start, methods=["POST"]),
        Route("/v1/dialogues/{dialogue}", look),
    ]


def _answered(
    core: Core, request: Request, tenant: str, found: Reply | Pending | Broken, *, unanswered: int
) -> Response:
    """``unanswered``: the HTTP status where there is no reply yet."""
    told = _status(core, tenant, found)
    request.state.log |= {"tenant": tenant, "conversation": told.dialogue, "workflow_id": told.workflow_id}
    headers: dict[str, str] = {}
    if told.state in _AGAIN_SECONDS:
        headers = {"Location": told.status_url, "Retry-After": str(_AGAIN_SECONDS[told.state])}
    return JSONResponse(told.model_dump(mode="json"), unanswered if headers else 200, headers)


def _status(core: Core, tenant: str, found: Reply | Pending | Broken) -> DialogueStatus:
    trace_url = core.conversations.trace_url
    if isinstance(found, Reply):
        state, dialogue = ("done" if found.state == "done" else "waiting"), found.conversation
        reply, problem = chat_reply(found, trace_url(found.workflow_id, found.run_id)), None
    elif isinstance(found, Pending):
        state, dialogue, reply, problem = "running", found.conversation, None, None
    else:
        state, dialogue, reply, problem = "failed", found.dialogue, None, found.problem
    return DialogueStatus(
        dialogue=dialogue,
        state=state,
        status_url=f"/v1/dialogues/{quote(dialogue, safe='')}?{urlencode({'tenant': tenant})}",
        reply=reply,
        problem=problem,
        workflow_id=dialogue,
        run_id=found.run_id,
        trace_url=trace_url(dialogue, found.run_id),
    )


def operations() -> Operations:
    """Both in the OpenAPI document."""
    return Operations(
        {"/v1/dialogues": _start(), "/v1/dialogues/{dialogue}": _look()},
        taken=(DialogueRequest,),
        sent=(DialogueStatus, Problem),
    )


def _start() -> dict[str, Any]:
    answered = {"{$request.body#/webhook/url}": {"post": _WEBHOOK}}
    return {
        "post": {
            "operationId": "start_dialogue",
            "summary": "Ask a question without waiting for its answer",
            "description": DialogueRequest.__doc__,
            "parameters": [idempotency_parameter()],
            "requestBody": body(DialogueRequest),
            "responses": {
                "200": json_answer("It was answered while you waited.", DialogueStatus),
                "202": json_answer(
                    "It was started. Look at `Location` after `Retry-After` seconds.",
                    DialogueStatus,
                    headers=("Location", "Retry-After"),
                ),
                **problems(404, 409, of_a_body=True),
            },
            "callbacks": {"answered": answered},
        }
    }


def _look() -> dict[str, Any]:
    path = {"name": "dialogue", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "parameters": [path],
        "get": {
            "operationId": "dialogue",
            "summary": "How a dialogue stands, and its answer",
            "parameters": parameters(TenantQuery),
            "responses": {"200": json_answer("It.", DialogueStatus), **problems(404, 422)},
        },
    }
