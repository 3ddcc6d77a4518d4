"""``/v1/feedback`` and ``/v1/reviews``: people judge answers, after they were given and before."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import validation
from gateway.chat import body_of, caller_of, chat_reply
from gateway.core import Core
from gateway.identifiers import known_conversation
from gateway.openapi_parts import CONVERSATION, Operations, body, json_answer, parameters, problems
from gateway.wire import ChatReply, DecisionRequest, FeedbackRequest, Problem, Reviews, ReviewsQuery, Thanked

__all__ = ["operations", "routes"]


def routes(core: Core) -> list[Route]:
    """The routes of both."""

    async def feedback(request: Request) -> Response:
        given = validation.parse(FeedbackRequest, await body_of(request, core))
        request.state.log |= {"conversation": given.conversation, "turn": given.turn}
        thanked = await core.feedback(caller_of(request), given)
        return JSONResponse(thanked.model_dump(), 202 if thanked.state == "accepted" else 200)

    async def reviews(request: Request) -> Response:
        query = validation.parse_query(ReviewsQuery, request.query_params.multi_items())
        found = await core.reviews(caller_of(request), query.tenant)
        return JSONResponse(Reviews(reviews=tuple(found)).model_dump(mode="json"))

    async def decide(request: Request) -> Response:
        conversation = known_conversation(request.path_params["conversation"])
        given = validation.parse(DecisionRequest, await body_of(request, core))
        request.state.log |= {"conversation": conversation, "workflow_id": conversation, "turn": given.turn}
        reply = await core.decide(caller_of(request), conversation, given)
        sent = chat_reply(reply, core.conversations.trace_url(reply.workflow_id, reply.run_id))
        return JSONResponse(sent.model_dump(mode="json"))

    return [
        Route("/v1/feedback", feedback, methods=["POST"]),
        Route("/v1/reviews", reviews),
        Route("/v1/reviews/{conversation}", decide, methods=["POST"]),
    ]


def operations() -> Operations:
    """Both in the OpenAPI document."""
    return Operations(
        {"/v1/feedback": _feedback(), "/v1/reviews": _reviews(), "/v1/reviews/{conversation}": _decision()},
        taken=(FeedbackRequest, DecisionRequest),
        sent=(Thanked, Reviews, ChatReply, Problem),
    )


def _feedback() -> dict[str, Any]:
    return {
        "post": {
            "operationId": "feedback",
            "summary": "Say what you thought of an answer",
            "description": FeedbackRequest.__doc__,
            "requestBody": body(FeedbackRequest),
            "responses": {
                "200": json_answer("It is kept.", Thanked),
                "202": json_answer("The conversation keeps it.", Thanked),
                **problems(404, of_a_body=True),
            },
        }
    }


def _reviews() -> dict[str, Any]:
    return {
        "get": {
            "operationId": "reviews",
            "summary": "List the turns that wait for a person",
            "parameters": parameters(ReviewsQuery),
            "responses": {"200": json_answer("Those that wait.", Reviews), **problems(404, 422)},
        }
    }


def _decision() -> dict[str, Any]:
    return {
        "parameters": [CONVERSATION],
        "post": {
            "operationId": "decide",
            "summary": "Decide on a turn that waits for a person",
            "description": DecisionRequest.__doc__,
            "requestBody": body(DecisionRequest),
            "responses": {
                "200": json_answer("The answer that was sent.", ChatReply),
                **problems(404, of_a_body=True),
            },
        },
    }
