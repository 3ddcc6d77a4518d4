"""The two small pages: where things are, and what the operations are. Self-contained: no script, nothing fetched."""

from __future__ import annotations

import inspect
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

from gateway.openapi import documented_faults

__all__ = ["docs_page", "index_page"]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #8884; }
:target { outline: 2px solid; outline-offset: 2px; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def index_page(web_ui: str) -> HTMLResponse:
    """Where things are."""
    links = (
        ("/docs", "operations and problems", "接口说明"),
        ("/openapi.json", "OpenAPI 3.1", "OpenAPI 3.1"),
        ("/readyz", "whether a message would be answered now", "现在能否回答"),
        ("/healthz", "whether the process is alive", "进程是否存活"),
        ("/metrics", "Prometheus metrics", "监控指标"),
        (web_ui, "Temporal Web UI: every conversation's trace", "Temporal 界面：每个对话的轨迹"),
    )
    rows = "".join(
        f'<tr><td><a href="{escape(link)}">{escape(link)}</a></td><td>{escape(what)}</td>'
        f'<td lang="zh">{escape(chinese)}</td></tr>'
        for link, what, chinese in links
    )
    return _page("Parley", f"<h1>Parley</h1><p>Say something: <code>POST /v1/chat</code>.</p><table>{rows}</table>")


def docs_page(openapi: dict[str, Any]) -> HTMLResponse:
    """The operations, made from ``openapi``, and every fault under the anchor that problem types name."""
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    )
    faults = "".join(
        f'<tr id="{escape(fault.type)}"><td><code>{escape(fault.type)}</code></td>'
        f"<td>{fault.status}</td><td>{escape(fault.title)}</td></tr>"
        for fault in documented_faults()
    )
    return _page(
        "Parley: operations",
        f'<h1>Operations</h1><p>In full: <a href="/openapi.json">/openapi.json</a></p>{operations}'
        f"<h1>Problems</h1><table><tr><th>type</th><th>status</th><th>title</th></tr>{faults}</table>",
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    responses = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(response['description'])}</td></tr>"
        for status, response in operation["responses"].items()
    )
    description = escape(inspect.cleandoc(operation.get("description", "")))
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}. {description}</p><table>{responses}</table>"
    )


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>",
        headers={"Content-Security-Policy": _POLICY},
    )
