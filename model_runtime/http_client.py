"""HTTP clients that show a token to the server it is meant for, and to no other that they are led to."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Generator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

__all__ = ["TokenAuth", "async_client", "client"]


class TokenAuth(httpx.Auth):
    """As a bearer token, or with ``user`` as the password of basic authentication; without a token, nothing.

    httpx drops the header when it follows a redirect to elsewhere; this keeps it from being set there.
    """

    def __init__(self, server: str, token: str | None, user: str | None = None) -> None:
        self._origin = _origin(server)
        self._header = ""
        if token is not None and user is not None:
            self._header = f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"
        elif token is not None:
            self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._header and _origin(str(request.url)) == self._origin:
            request.headers["Authorization"] = self._header
        yield request


def async_client(server: str, token: str | None, user: str | None = None) -> httpx.AsyncClient:
    """For downloads: follows redirects. Proxies and certificates are those of the environment."""
    return httpx.AsyncClient(follow_redirects=True, **_common(server, token, user))


def client(server: str, token: str | None, user: str | None = None) -> httpx.Client:
    """For single requests, each of which says whether it follows redirects."""
    return httpx.Client(**_common(server, token, user))


def _common(server: str, token: str | None, user: str | None) -> dict[str, Any]:
    return {
        "auth": TokenAuth(server, token, user),
        "max_redirects": 5,
        "timeout": httpx.Timeout(30, connect=10, pool=None),
        "headers": {"User-Agent": "parley"},
        "verify": _certificates(),
    }


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes a tenth of a second."""
    return httpx.create_ssl_context()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
