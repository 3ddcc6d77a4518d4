"""The OpenAPI 3.1 document: schemas from the types that the gateway reads and writes, operations by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

from dialogue.faults import ParleyFault, all_faults
from gateway import dialogues, judging, openapi_chat, openapi_openai, whoami
from gateway.openapi_parts import Operations, get, json_answer, schemas, text_answer
from gateway.problems import problem_type
from gateway.wire import Health, Readiness

__all__ = ["VERSION", "document", "documented_faults"]

VERSION = "0.1.0"
_SECURITY: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the site's issuer."},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key."},
}


@cache
def document() -> dict[str, Any]:
    """The document as a JSON object, made once in a process: nobody changes it."""
    parts = [
        openapi_chat.operations(),
        dialogues.operations(),
        judging.operations(),
        openapi_openai.operations(),
        whoami.operations(),
        _operational(),
    ]
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
        # where access is open none is needed, and that is the document's first alternative
        "security": [{}, *({name: []} for name in _SECURITY)],
        "paths": {path: item for part in parts for path, item in part.paths.items()},
        "components": {"schemas": schemas(parts), "securitySchemes": _SECURITY},
    }


def _operational() -> Operations:
    ready = {
        "200": json_answer("A message would be answered now.", Readiness),
        "503": json_answer("What is missing.", Readiness),
    }
    whole = {"200": {"description": "OpenAPI.", "content": {"application/json": {"schema": {"type": "object"}}}}}
    page = {"200": text_answer("text/html", "A page.")}
    metrics = {"200": text_answer("text/plain", "Text format 0.0.4.")}
    paths = {
        "/healthz": get("alive", "Whether the process is alive", {"200": json_answer("It is.", Health)}),
        "/readyz": get("ready", "Whether Temporal and the worker pools are there", ready),
        "/metrics": get("metrics", "Prometheus metrics", metrics),
        "/openapi.json": get("openapi", "This document, OpenAPI 3.1", whole),
        "/openapi-3.0.json": get("openapi_30", "This document in OpenAPI 3.0, for older generators", whole),
        "/docs": get("docs", "The operations and the problems, to read", page),
        "/": get("chat_page", "The chat page", page),
        "/about": get("index", "Where things are", page),
    }
    return Operations(paths, sent=(Health, Readiness))


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
