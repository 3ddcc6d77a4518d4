"""The chat page: files of ``gateway/page`` served as they are, with a policy that lets nothing foreign run.

Nothing is built and nothing is fetched from elsewhere. The files are read once. A browser asks each time whether a
file is still the same (``no-cache`` with a strong ETag): after an update no old module meets a new one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["POLICY", "routes"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def routes() -> list[Route]:
    """``/`` and ``/page/…``. GET, and with it HEAD, are all they take."""
    files = {path.name: _File(path) for path in FOLDER.iterdir() if path.suffix in _TYPES}

    async def index(request: Request) -> Response:
        return files[INDEX].response(request)

    async def file(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return found.response(request)

    return [Route("/", index), Route("/page/{name}", file)]


class _File:
    """One file, and the headers it always has."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._type = _TYPES[path.suffix]
        self._etag = f'"{hashlib.sha256(self._content).hexdigest()[:32]}"'

    def response(self, request: Request) -> Response:
        """The file, or 304 where the browser holds the same."""
        headers = {
            "ETag": self._etag,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        held = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
        if self._etag in held or "*" in held:
            return Response(status_code=304, headers=headers)
        return Response(self._content, media_type=self._type, headers=headers)
