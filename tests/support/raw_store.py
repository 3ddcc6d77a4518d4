"""A real raw HTTP store: PUT, GET, HEAD and DELETE of paths below a folder, as a Nexus raw repository has them."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["RawStore", "raw_store"]


@dataclass
class RawStore:
    """``conditional``: it knows If-Match and If-None-Match. ``statuses``: answered instead, one a request."""

    url: str
    root: Path
    authorization: str | None
    conditional: bool = True
    statuses: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: RawStore

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called there
        """Nothing is printed."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        store, sent = self.store, self.rfile.read(int(self.headers.get("Content-Length", "0")))
        file = store.root / self.path.lstrip("/")
        with store.lock:
            store.asked.append((self.command, self.path, self.headers.get("Authorization")))
            if store.authorization is not None and self.headers.get("Authorization") != store.authorization:
                self._answer(401)
            elif store.statuses:
                self._answer(store.statuses.pop(0))
            elif self.command == "PUT":
                self._put(file, sent)
            elif not file.is_file():
                self._answer(404)
            elif self.command == "DELETE":
                file.unlink()
                self._answer(204)
            else:
                self._give(file)

    do_GET = do_HEAD = do_PUT = do_DELETE = _handle  # noqa: N815 - as they are called there

    def _put(self, file: Path, sent: bytes) -> None:
        there = _etag(file)
        wanted, unwanted = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if self.store.conditional and ((wanted and wanted != there) or (unwanted == "*" and there)):
            self._answer(412)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sent)
        self._answer(201)

    def _give(self, file: Path) -> None:
        body = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, body, ETag=_etag(file) or "")
            return
        start = int(asked[1])
        told = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._answer(206, body[start:], ETag=_etag(file) or "", Content_Range=told)


def _etag(file: Path) -> str | None:
    return f'"{hashlib.sha256(file.read_bytes()).hexdigest()}"' if file.is_file() else None


@contextlib.contextmanager
def raw_store(root: Path, *, token: str | None = None, authorization: str | None = None) -> Iterator[RawStore]:
    """On a free port of this machine; what is put there lies below ``root``."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign] - who asked is gone
    wanted = authorization or (f"Bearer {token}" if token else None)
    store = RawStore(f"http://127.0.0.1:{server.server_address[1]}", root, wanted)
    handler.store = store  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
