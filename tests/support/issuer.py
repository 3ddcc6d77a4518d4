"""An OpenID Connect issuer: its keys over HTTP on a free port of this machine, tokens signed with them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

__all__ = ["AUDIENCE", "Issuer"]

AUDIENCE = "parley"


@dataclass
class Issuer:
    """``keys`` are what it tells, by their ids; ``asked`` the paths that were. ``down``: every answer is 503."""

    keys: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    calls_itself: str | None = None

    def __enter__(self) -> Self:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                body = json.dumps(issuer._said(self.path)).encode()
                self.send_response(503 if issuer.down else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, kid: str, kind: str = "RSA") -> Any:
        """A new key pair, whose public half is told from now on; gives the private one."""
        private = rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(ec.SECP256R1())
        algorithm = jwt.get_algorithm_by_name("RS256" if kind == "RSA" else "ES256")
        self.keys[kid] = algorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": kid, "use": "sig"}
        return private

    def token(self, private: Any, kid: str | None, algorithm: str = "RS256", **changed: Any) -> str:
        """Signed; a claim that is given as None is left out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "exp": now + 300, "tenant": "acme", "sub": "ann", "scope": "chat"}
        claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        return jwt.encode(claims, private, algorithm, headers={"kid": kid} if kid is not None else None)

    def _said(self, path: str) -> dict[str, Any]:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.calls_itself or self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": list(self.keys.values())}
