"""A real HTTP server for downloads, which misbehaves as it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["PIECE", "Asked", "FileServer", "Served", "file_server"]

PIECE = 16 << 10


@dataclass
class Served:
    """A file and how it is given. Each of the lists is used up, one entry a request; then it is given as it should be.

    ``statuses``: answered instead. ``drops``: the connection ends after so many bytes. ``declared``: the length that
    is said.
    """

    body: bytes
    etag: str | None = None
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    declared: list[int] = field(default_factory=list)
    redirect: str = ""
    retry_after: str = ""
    link: str = ""
    together: threading.Barrier | None = None
    """Nothing is sent before as many requests as this waits for are there."""
    holds_at: int | None = None
    """Once this many bytes of the whole server's files were sent, nothing more is until ``go_on`` is set."""

    def __post_init__(self) -> None:
        if self.etag is None:
            self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]
    method: str = "GET"


@dataclass
class FileServer:
    """``sent``: how many bytes of which file each answer handed to the network."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sent: list[tuple[str, int]] = field(default_factory=list)
    token: str | None = None
    holding: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def requests(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.partition("?")[0] == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: FileServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called there
        """Nothing is printed."""

    def do_GET(self) -> None:
        front = self.front
        front.asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
        served = front.files.get(self.path) or front.files.get(self.path.partition("?")[0])
        if front.token is not None and self.headers.get("Authorization") != f"Bearer {front.token}":
            self._plain(401)
        elif served is None:
            self._plain(404)
        elif served.statuses:
            self._plain(served.statuses.pop(0), **({"Retry-After": served.retry_after} if served.retry_after else {}))
        elif served.redirect:
            self._plain(302, Location=served.redirect)
        else:
            self._give(served)

    def _plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _give(self, served: Served) -> None:
        start = self._start(served)
        body = served.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(served.body) - 1}/{len(served.body)}")
        if served.etag:
            self.send_header("ETag", served.etag)
        if served.link:
            self.send_header("Link", served.link)
        declared = served.declared.pop(0) if served.declared else len(body)
        self.send_header("Content-Length", str(declared))
        self.end_headers()
        whole = not served.drops
        self._send(served, body if whole else body[: served.drops.pop(0)])
        if not whole or declared != len(body):
            self.close_connection = True

    def _start(self, served: Served) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None or not served.ranges or self.headers.get("If-Range") not in (None, served.etag):
            return 0
        return int(asked[1])

    def _send(self, served: Served, body: bytes) -> None:
        count = 0
        if served.together is not None:
            served.together.wait(20)
        try:
            for place in range(0, len(body), PIECE):
                if served.holds_at is not None and place >= served.holds_at:
                    self.front.holding.set()
                    self.front.go_on.wait(60)
                self.wfile.write(body[place : place + PIECE])
                count += len(body[place : place + PIECE])
        except OSError:  # who asked is gone
            self.close_connection = True
        finally:
            self.front.sent.append((self.path, count))


@contextlib.contextmanager
def file_server() -> Iterator[FileServer]:
    """On a free port of this machine."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] - who asked was killed
    front = FileServer(f"http://127.0.0.1:{server.server_address[1]}")
    handler.front = front  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield front
    finally:
        front.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
