"""The settings of the edge: who is let in over which connection, how much, and what is believed of a proxy."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from settings.section import Section

__all__ = ["GatewayTlsSettings", "LimitSettings", "Network", "Origin", "RedisTlsSettings"]


def _network(written: str) -> str:
    try:
        ipaddress.ip_network(written)
    except ValueError:
        raise PydanticCustomError("network", "must be an address or a network such as 10.0.0.0/8") from None
    return written


def _origin(written: str) -> str:
    if written == "*":
        return written
    parts = urlsplit(written)
    if parts.scheme not in ("http", "https") or not parts.netloc or written != f"{parts.scheme}://{parts.netloc}":
        raise PydanticCustomError("origin", "must be * or a scheme with a host, as in https://shop.example")
    return written


Network = Annotated[str, AfterValidator(_network)]
"""An address or a network, as CIDR writes it."""
Origin = Annotated[str, AfterValidator(_origin)]
"""A web origin, as a browser sends it, or ``*``."""


class GatewayTlsSettings(Section):
    """The gateway's own TLS."""

    cert: Path
    """The certificate and those between it and its authority, PEM."""
    key: Path
    """Its private key, PEM (PKCS#8), without a password."""
    client_ca: Path | None = None
    """The authority of the clients, PEM: who shows no certificate of it is not let in; null: everybody is."""


class RedisTlsSettings(Section):
    """TLS to Redis, for a ``rediss://`` address."""

    ca: Path | None = None
    """The certificate authority, PEM; the system's own where none is given."""
    cert: Path | None = None
    """The client's certificate, PEM, for mutual TLS."""
    key: Path | None = None
    """Its private key, PEM."""


class LimitSettings(Section):
    """What one tenant may use; null: no bound of its own."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Messages it may send in any minute."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Tokens, of prompts and answers, after which its next message of that minute is refused."""
    concurrent_turns: int | None = Field(default=None, ge=1)
    """Turns that may be answered at once. One counts until it is over, whether or not somebody waits for it."""
    max_body: int | None = Field(default=None, ge=1000)
    """Bytes a request body may have; at most ``gateway.max_body``."""
