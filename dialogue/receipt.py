"""A receipt: what was asked, answered, shown and by which model, in digests, signed by the site that answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from pydantic import Field

from dialogue.base import Value

__all__ = ["Receipt", "passages_digest"]


class Receipt(Value):
    """Digests are SHA-256 in hexadecimal. It holds no text: who has question and answer can hold them against it."""

    version: int = 1
    tenant: str
    conversation: str
    turn: int
    question: str = Field(description="digest of the message as it came, its files with it")
    answer: str = Field(description="digest of the answer's text")
    passages: str = Field(description="digest of the citations, as JSON with sorted keys and no spaces")
    model: str | None = Field(default=None, description="digest of the model")
    snapshot: str | None = Field(default=None, description="digest of the knowledge snapshot")
    policy: str | None = Field(default=None, description="digest of the policy")
    audit_id: int
    audit_hash: str = Field(description="hash of the audit's row, which names the row before")
    received_at: float = Field(description="seconds since the epoch, when the message came")
    key: str = Field(default="", description="id of the key that signed")
    signature: str = Field(default="", description="Ed25519 over all the other fields, Base64")

    def signed_bytes(self) -> bytes:
        """What is signed: everything but the signature, as JSON with sorted keys and no spaces."""
        told = self.model_dump(mode="json", exclude={"signature"})
        return json.dumps(told, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii")


def passages_digest(citations: Iterable[Value]) -> str:
    """Of the citations that were sent with an answer."""
    told = [citation.model_dump(mode="json") for citation in citations]
    written = json.dumps(told, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode("ascii")).hexdigest()
