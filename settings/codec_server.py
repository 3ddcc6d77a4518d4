"""The settings of the codec server, which opens payloads for people and for services in other languages."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from settings.edge import Origin
from settings.section import Section

__all__ = ["CodecServerSettings"]


def _not_every_origin(origin: str) -> str:
    if origin == "*":
        raise PydanticCustomError(
            "origin", "must be a scheme with a host, as in https://temporal.example: * is everybody"
        )
    return origin


class CodecServerSettings(Section):
    """The codec server."""

    host: str = "127.0.0.1"
    """The address it binds to. TLS is the gateway's (``gateway.tls``)."""
    port: int = Field(default=8090, ge=0, le=65535)
    """Its port; 0 takes a free one."""
    url: str | None = None
    """Where browsers and the ``temporal`` CLI reach it; null: as ``host`` and ``port`` say."""
    ui_origins: tuple[Annotated[Origin, AfterValidator(_not_every_origin)], ...] | None = None
    """Web origins whose pages may have payloads opened; null: that of ``temporal.web_ui``."""
    max_body: int = Field(default=16_000_000, ge=1000)
    """Bytes a request body may have: the Web UI sends a page of a history at once."""
    session_hours: float = Field(default=8, gt=0, le=168)
    """How long a browser stays signed in."""

    @field_validator("url")
    @classmethod
    def _url_is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise PydanticCustomError("address", "must be an http:// or https:// address without a name or password")
        return url.rstrip("/")

    def reached_at(self, port: int, *, tls: bool) -> str:
        """Its address for others; ``port``: the one it was given, where ``port`` is 0."""
        if self.url is not None:
            return self.url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 compared with, never bound to
        named = f"[{host}]" if ":" in host else host
        return f"{'https' if tls else 'http'}://{named}:{port}"
