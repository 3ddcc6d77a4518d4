"""The settings of the key service, which hands tenants' keys to enclaves that prove what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from settings.section import Section

__all__ = ["EnclaveSettings", "KeyServiceSettings"]

Digest = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


class EnclaveSettings(Section):
    """One that may have the keys, by what Intel's processor measured of it."""

    mrenclave: Digest | None = None
    """The digest of its code, its files and its manifest (MRENCLAVE), 64 hexadecimal digits: that build alone."""
    mrsigner: Digest | None = None
    """The digest of the key that signed it (MRSIGNER): any build of that signer with this ``product``."""
    product: int | None = Field(default=None, ge=0, le=65_535)
    """Its product number (ISV_PROD_ID, ``sgx.isvprodid`` of the manifest)."""
    least_version: int = Field(default=0, ge=0, le=65_535)
    """Its security version (ISV_SVN, ``sgx.isvsvn``) must be this or higher."""

    @model_validator(mode="after")
    def _is_measured(self) -> EnclaveSettings:
        if self.mrenclave is None and self.mrsigner is None:
            raise PydanticCustomError("enclave", "must give mrenclave, mrsigner or both")
        if self.mrenclave is None and self.product is None:
            raise PydanticCustomError("enclave", "must give product too: mrsigner alone is everything of that signer")
        return self


class KeyServiceSettings(Section):
    """The key service."""

    host: str = "127.0.0.1"
    """The address it binds to. TLS is the gateway's (``gateway.tls``)."""
    port: int = Field(default=8091, ge=0, le=65535)
    """Its port; 0 takes a free one."""
    identity_key: Path | None = None
    """The private key (Ed25519, PEM) that signs what it hands out; null: ``keys/identity.pem`` below ``data``, made
    when it is needed."""
    root_certificate: Path | None = None
    """Intel's SGX root certificate, PEM, from which every quote must descend. Needed to serve."""
    revocation_lists: tuple[Path, ...] = ()
    """Revocation lists of that root and of its authorities, PEM or DER, renewed by whoever runs the site. Where any is
    named, each certificate must be covered by one that is not over; without, revocation is not checked."""
    platforms: tuple[Digest, ...] = ()
    """SHA-256 of the certificates (PCK) of the machines whose quotes are taken, as ``parley keys quote`` shows them:
    one machine at one patch level each. None: any machine of Intel's, however badly patched."""
    enclaves: dict[str, EnclaveSettings] = Field(default_factory=dict)
    """The enclaves that may have the keys, by a name for the log."""
