"""Tells every fault as RFC 9457 problem details (``application/problem+json``).

``type`` is a path of this gateway's own documentation (``/docs#unknown-tenant``), or ``about:blank`` where the HTTP
status says all. ``instance`` is the request id. ``errors`` lists each bad field where there are several.
"""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dialogue.faults import BodyTooSlow, ParleyFault

__all__ = [
    "ABOUT_BLANK",
    "AGAIN_LATER",
    "CLIENT_LEFT",
    "ProblemResponse",
    "on_client_left",
    "on_fault",
    "on_http_exception",
    "problem_type",
    "retry_after",
    "told",
    "unexpected",
]

ABOUT_BLANK = "about:blank"
RETRY_SECONDS = 2
AGAIN_LATER = (429, 503)
CLIENT_LEFT = 499
"""For the log and the metrics: nobody reads this answer."""
_UNEXPECTED = "Something went wrong on our side. The operator finds it in the log under this request's id."
_DETAILS = {
    404: "There is nothing at this address. GET /docs lists what there is.",
    405: "This address does not take the method {method}. The Allow header names those it takes.",
}


class ProblemResponse(JSONResponse):
    """A problem; ``extension`` members stand beside the standard ones."""

    media_type = "application/problem+json"

    def __init__(
        self,
        request_id: str,
        status: int,
        title: str,
        detail: str,
        *,
        type_: str = ABOUT_BLANK,
        field: str | None = None,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **extension: Any,
    ) -> None:
        body: dict[str, Any] = {"type": type_, "title": title, "status": status, "detail": detail}
        if field:
            body["field"] = field
        if len(errors) > 1:
            body["errors"] = list(errors)
        sent = dict(headers or {})
        if status in AGAIN_LATER:
            sent.setdefault("Retry-After", str(RETRY_SECONDS))
        super().__init__({**body, "instance": request_id, **extension}, status_code=status, headers=sent)


def problem_type(fault: type[ParleyFault]) -> str:
    """Where that fault is documented."""
    return f"/docs#{fault.type}"


def told(fault: ParleyFault) -> dict[str, Any]:
    """A fault where no HTTP answer carries it: in a stream that has begun, or over a WebSocket. What ``Retry-After``
    would say there stands in ``retry_after``."""
    # a fault of no known type may hold anything, so its words go to the log and not to the caller
    detail = _UNEXPECTED if type(fault) is ParleyFault else fault.message
    found = {"type": problem_type(type(fault)), "title": fault.title, "status": fault.status, "detail": detail}
    if fault.field:
        found["field"] = fault.field
    if fault.status in AGAIN_LATER:
        found["retry_after"] = retry_after(fault)
    return found


def retry_after(fault: ParleyFault) -> int:
    """Seconds after which it is worth to try again: the fault's own, where it knows them."""
    return fault.details.get("retry_after", RETRY_SECONDS)


async def on_fault(request: Request, fault: Exception) -> ProblemResponse:
    assert isinstance(fault, ParleyFault)  # noqa: S101 - registered for it alone
    request.state.log["fault"] = fault.type
    if type(fault) is ParleyFault:
        request.state.log["error"] = fault.message
    words = told(fault)
    return ProblemResponse(
        request.state.request_id,
        fault.status,
        fault.title,
        words["detail"],
        type_=words["type"],
        field=fault.field,
        errors=fault.details.get("errors", ()),
        headers=_headers(fault),
    )


def _headers(fault: ParleyFault) -> dict[str, str]:
    """When to come back, where that is worth it; a body that is still on its way leaves the connection unusable."""
    headers = {"Retry-After": str(retry_after(fault))} if fault.status in AGAIN_LATER else {}
    return headers | ({"Connection": "close"} if isinstance(fault, BodyTooSlow) else {})


async def on_client_left(request: Request, error: Exception) -> Response:
    """Whoever leaves while they still send has done nothing wrong, and nor have we."""
    del request, error
    return Response(status_code=CLIENT_LEFT)


async def on_http_exception(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    title = http.HTTPStatus(error.status_code).phrase
    detail = error.detail
    if detail == title:  # Starlette's own, which says no more than the title
        detail = _DETAILS.get(error.status_code, title).format(method=request.method)
    return ProblemResponse(request.state.request_id, error.status_code, title, detail, headers=error.headers)


def unexpected(request_id: str) -> ProblemResponse:
    """The answer to an exception nobody foresaw: nothing of it is shown."""
    return ProblemResponse(request_id, 500, ParleyFault.title, _UNEXPECTED, type_=problem_type(ParleyFault))
