"""Who makes a request, and what that lets them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dialogue.faults import Forbidden, unknown_tenant
from dialogue.messages import ANONYMOUS
from records.api_keys import SCOPES

__all__ = ["ANYONE", "Caller"]

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """``tenant`` and ``user`` are those that the key or token stands for; None: any. ``name`` says for the log which
    key or token it was, and never holds a secret."""

    tenant: str | None
    user: str | None
    scopes: frozenset[str]
    how: Literal["open", "key", "oidc"]
    name: str

    def for_tenant(self, asked: str | None) -> str:
        """The tenant to act for. Raises UnknownTenant for another's, in the words for one that is not there."""
        if self.tenant is None:
            return asked or DEFAULT_TENANT
        if asked is not None and asked != self.tenant:
            raise unknown_tenant(asked)
        return self.tenant

    def for_user(self, asked: str | None) -> str:
        """The user to act for. Raises Forbidden where the key or token is another user's own."""
        if self.user is None:
            return asked or ANONYMOUS
        if asked is not None and asked != self.user:
            raise Forbidden(f"user: this {self._means} speaks for {self.user} alone. Leave user out.", field="user")
        return self.user

    def require(self, scope: str) -> None:
        """Raises Forbidden where the key or token has neither this scope nor ``admin``."""
        if not self.scopes & {scope, "admin"}:
            raise Forbidden(
                f"scope: this {self._means} has no scope {scope}. Use one that has, or ask the operator for it."
            )

    @property
    def _means(self) -> str:
        return "token" if self.how == "oidc" else "key"


ANYONE = Caller(None, None, frozenset(SCOPES), "open", "anybody")
"""Whoever reaches a gateway that is open."""
