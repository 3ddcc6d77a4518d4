"""``/v1/whoami``: what the caller may do here, for pages that show no more than that."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dialogue.messages import MOST_FILES
from gateway import wire
from gateway.chat import caller_of
from gateway.openapi_parts import Operations, get, json_answer, problems
from settings.schema import Settings

__all__ = ["Whoami", "operations"]

_OPERATORS = frozenset({"operate", "admin"})


class Whoami:
    """The operation of ``/v1/whoami``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def whoami(self, request: Request) -> Response:
        caller, settings = caller_of(request), self._settings
        models = (settings.model, *settings.models.values())
        tenants = {name: tenant for name, tenant in settings.tenants.items() if caller.tenant in (None, name)}
        told = wire.Whoami(
            tenant=caller.tenant,
            tenants=tuple(tenants),
            user=caller.user,
            scopes=tuple(sorted(caller.scopes)),
            access="open" if caller.how == "open" else "keys",
            web_ui=settings.temporal.web_ui if caller.scopes & _OPERATORS else None,
            max_files=MOST_FILES,
            max_characters={name: tenant.max_characters for name, tenant in tenants.items()},
            languages=tuple(dict.fromkeys(language for model in models for language in model.languages)),
        )
        return JSONResponse(told.model_dump(mode="json"))


def operations() -> Operations:
    """It in the OpenAPI document."""
    answers = {"200": json_answer("What you may do.", wire.Whoami), **problems()}
    return Operations(
        {"/v1/whoami": get("whoami", "What the caller may do here", answers)}, sent=(wire.Whoami, wire.Problem)
    )
