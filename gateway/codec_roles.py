"""What the codec server shows to whom: the roles that API keys and an issuer's tokens hold as scopes."""

from __future__ import annotations

from enum import StrEnum

from dialogue.faults import Forbidden
from gateway.caller import Caller

__all__ = ["Role", "person", "require_service"]

_SERVICE = "codec:service"


class Role(StrEnum):
    """Of a person, the strictest first: who holds several is held to the one whose looks are logged."""

    AUDITOR = "codec:auditor"
    REVIEWER = "codec:reviewer"
    OPERATOR = "codec:operator"

    @property
    def reads_texts(self) -> bool:
        return self is not Role.OPERATOR


def person(caller: Caller) -> Role:
    """Raises Forbidden for a key or token with no role; ``admin`` is none."""
    for role in Role:
        if role in caller.scopes:
            return role
    raise Forbidden(
        "scope: this key or token has no role at the codec server. Use one with codec:operator (sizes), codec:reviewer "
        "(texts) or codec:auditor (texts, each look logged)."
    )


def require_service(caller: Caller) -> None:
    """Raises Forbidden where it is not a program's that seals and opens for its users."""
    if _SERVICE not in caller.scopes:
        raise Forbidden(
            f"scope: /TENANT/USER/ is for programs, and this key has no scope {_SERVICE}. People use /decode."
        )
