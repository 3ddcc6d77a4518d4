"""Who calls: what a key or a token says, or nobody in particular where access is open."""

from __future__ import annotations

from dataclasses import dataclass

from dialogue.faults import UnknownTenant

__all__ = ["ANYONE", "Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """``tenant`` None: any of this site's; ``user`` None: whom the caller names."""

    tenant: str | None = None
    user: str | None = None
    scopes: frozenset[str] = frozenset({"chat", "review", "operate"})
    how: str = "open"
    name: str = ""

    def for_tenant(self, asked: str | None) -> str:
        """The tenant that is meant. Raises UnknownTenant for one that is not the caller's."""
        if self.tenant is None:
            return asked or "default"
        if asked not in (None, self.tenant):
            raise UnknownTenant(f"tenant: there is no tenant {asked}. Name one of this site's.", field="tenant")
        return self.tenant


ANYONE = Caller()
