"""The settings of how what is kept is protected: keys, payloads, what is stored outside the histories."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from settings.hosts import is_loopback
from settings.section import Section

__all__ = ["AttestedSettings", "EncryptionSettings", "ExternalSettings", "TransitSettings"]

Variable = r"^[A-Za-z_][A-Za-z0-9_]*$"


def _address(address: str) -> str:
    parts = urlsplit(address)
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not safe or not parts.hostname or "@" in parts.netloc:
        raise PydanticCustomError("address", "must be an https:// address without a name or password")
    return address


class TransitSettings(Section):
    """HashiCorp Vault or OpenBao: its transit engine, whose keys never leave it."""

    address: str = "https://127.0.0.1:8200"
    """Where it answers."""
    mount: str = Field(default="transit", pattern=r"^[A-Za-z0-9][A-Za-z0-9_/-]*$")
    """Where its transit engine is mounted."""
    token_env: str = Field(default="VAULT_TOKEN", pattern=Variable)
    """The variable with the token that may encrypt and decrypt (to rotate: also rotate) with the key."""

    @field_validator("address")
    @classmethod
    def _address_is_safe(cls, address: str) -> str:
        return _address(address)


class AttestedSettings(Section):
    """Parley's own key service, as an enclave asks it (``parley keys serve``)."""

    address: str | None = None
    """Where it answers; keys travel sealed, so that TLS is not what protects them."""
    service_key: str | None = Field(default=None, pattern=r"^[A-Za-z0-9+/]{43}=$")
    """Its public key, as ``parley keys identity`` prints it: whoever cannot sign with it is not asked."""

    @field_validator("address")
    @classmethod
    def _address_is_one(cls, address: str | None) -> str | None:
        parts = urlsplit(address or "http://there")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise PydanticCustomError("address", "must be an http:// or https:// address without a name or password")
        return address


class ExternalSettings(Section):
    """Payloads too long for a history, stored outside of it as ciphertext."""

    store: Literal["none", "local", "s3"] = "none"
    """``none``: every payload stands in the history; ``local``: a folder that every worker and gateway reaches; ``s3``:
    a bucket of S3 or of what speaks its language."""
    threshold: int = Field(default=65_536, ge=1024)
    """Bytes; longer payloads go outside."""
    folder: Path | None = None
    """The folder of ``local``; null: ``payloads`` below ``data``."""
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    """The bucket of ``s3``; it must be there."""
    endpoint: str | None = None
    """Where S3 answers; null: Amazon's own address. Credentials come as Amazon's SDK finds them (``AWS_…``)."""
    region: str | None = None
    """Its region; null: as Amazon's SDK finds it."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_safe(cls, endpoint: str | None) -> str | None:
        return endpoint if endpoint is None else _address(endpoint)


class EncryptionSettings(Section):
    """How histories and records are protected."""

    provider: Literal["none", "local", "environment", "vault", "aws", "gcp", "attested"] = "none"
    """Who holds the tenants' keys, under which each user's data key is wrapped. ``none``: all is stored in clear.
    ``local``: a file; ``environment``: a variable; ``vault``, ``aws``, ``gcp``: a key service;
    ``attested``: Parley's own, which gives them to known SGX enclaves alone."""
    key_file: Path | None = None
    """The file of ``local``, readable by its owner alone: keys in Base64, one a line, of which the first wraps and all
    unwrap; null: ``keys/site.keys`` below ``data``, made when it is needed."""
    key_env: str = Field(default="PARLEY_SITE_KEYS", pattern=Variable)
    """The variable of ``environment``: such keys, with commas between them."""
    key: str | None = Field(default=None, min_length=1)
    """The key of a key service: Vault's name, Amazon's ARN or alias, Google's resource name. ``{tenant}`` in it gives
    each tenant a key of its own; without it the tenant is bound to what is wrapped."""
    vault: TransitSettings = TransitSettings()
    """Vault."""
    attested: AttestedSettings = AttestedSettings()
    """Parley's key service."""
    accept_plain: bool = True
    """Whether payloads that are not encrypted are read: older histories, and callers with an SDK and no codec. While
    they are, whoever may write to Temporal's database can put some there in place of encrypted ones."""
    cache_seconds: float = Field(default=60, ge=0, le=3600)
    """How long a process keeps a data key in memory. So long after ``parley audit forget`` it may still read."""
    external: ExternalSettings = ExternalSettings()
    """What is stored outside the histories."""
    signing_key: Path | None = None
    """The private key (Ed25519, PEM) of receipts and checkpoints, for every worker the same; null:
    ``keys/signing.pem`` below ``data``, made when it is needed."""
