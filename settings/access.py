"""The settings of who may get in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from settings.hosts import is_loopback
from settings.sections import Section

__all__ = ["CODEC_SCOPES", "EVERY_SCOPE", "PREFIX", "SCOPES", "AccessSettings", "OidcSettings"]

PREFIX = "plk_"
"""Of every API key: by it scanners know one that leaked."""
SCOPES = ("chat", "review", "operate", "admin")
"""``chat``: say, read, cancel, feedback; ``review``: the reviewers' list and decisions; ``operate``: metrics and every
conversation's trace; ``admin``: all of them."""
CODEC_SCOPES = ("codec:operator", "codec:reviewer", "codec:auditor", "codec:service")
"""What the codec server shows (``gateway/codec_roles.py``). Not even ``admin`` holds them: whoever may read what people
said was given just that."""
EVERY_SCOPE = SCOPES + CODEC_SCOPES


class OidcSettings(Section):
    """An OpenID Connect issuer whose tokens (JWT) are taken beside API keys."""

    issuer: str
    """Its address, exactly as its tokens name it in ``iss``."""
    audience: str = Field(min_length=1)
    """What its tokens must name in ``aud``."""
    jwks_uri: str | None = None
    """Where its public keys are; null: as its ``.well-known/openid-configuration`` says."""
    tenant_claim: str = Field(default="tenant", min_length=1)
    """The claim that names the tenant. A token without it is refused."""
    user_claim: str = Field(default="sub", min_length=1)
    """The claim that names the user."""
    scopes_claim: str = Field(default="scope", min_length=1)
    """The claim with the scopes, a list or words with spaces between: ``chat``, ``review``, ``operate``, ``admin``,
    ``codec:…``."""
    refetch_seconds: float = Field(default=30, gt=0)
    """A token of an unknown key has the keys fetched again, at most once in so many seconds."""
    cache_seconds: float = Field(default=3600, gt=0)
    """After so long the keys are fetched again; one that the issuer has withdrawn is taken no longer than this."""

    @field_validator("issuer", "jwks_uri")
    @classmethod
    def _address_is_safe(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = urlsplit(address)
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not safe or not parts.hostname or "@" in parts.netloc:
            raise PydanticCustomError("address", "must be an https:// address without a name or password")
        return address


class AccessSettings(Section):
    """Who may get in."""

    mode: Literal["open", "keys", "tokens"] = "open"
    """``open``: whoever reaches the gateway may do everything. ``keys``: an API key (``parley keys``) is needed or,
    with ``oidc``, a token. ``tokens``: a token of ``oidc``, and no key: for where others may write the database."""
    trust_network: bool = False
    """Allows ``mode: open`` on an address that other machines reach."""
    oidc: OidcSettings | None = None
    """An issuer whose tokens are taken too; null: API keys alone."""
    sdk: Literal["trusted", "signed"] = "trusted"
    """Starts and messages through a Temporal SDK. ``trusted``: tenant and user are believed. ``signed``: a caller
    token must vouch for them."""
    signing_key: Path | None = None
    """The file with the secret of caller tokens, for every gateway and worker the same; null: ``caller.key`` below
    ``data``, made when it is needed."""
