"""A client of what runs: the conversations, as the settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialogue.faults import UnknownTenant
from records.protected import protection_of

if TYPE_CHECKING:
    from gateway.conversations import Conversations
    from settings.schema import Settings

__all__ = ["caller_token", "conversations", "known_tenant", "known_user"]


async def conversations(settings: Settings, *, wait_seconds: float = 0) -> Conversations:
    """Raises ``ConnectionError`` with one clear line when no server answers within ``wait_seconds``."""
    from gateway.conversations import Conversations
    from records.connection import connect

    protection = protection_of(settings)
    client = await connect(settings.temporal, wait_seconds=wait_seconds, protection=protection)
    return Conversations(
        client,
        task_queue=settings.queue_serving("workflows"),
        web_ui=settings.temporal.web_ui,
        page=settings.gateway.page,
        keys=protection.keys if protection else None,
    )


def known_tenant(settings: Settings, tenant: str) -> str:
    """The tenant itself. Raises UnknownTenant where temporal.yaml has none of that name."""
    if tenant not in settings.tenants:
        raise UnknownTenant(
            f"tenant: there is no tenant {tenant!r} in {settings.origins.file}; there are "
            f"{', '.join(settings.tenants)}.",
            field="tenant",
        )
    return tenant


def known_user(user: str) -> str:
    """The user itself, as messages name people. Raises InvalidRequest."""
    from pydantic import TypeAdapter, ValidationError

    from dialogue.faults import InvalidRequest
    from dialogue.messages import Identifier

    try:
        return TypeAdapter[str](Identifier).validate_python(user)
    except ValidationError:
        raise InvalidRequest(
            f"user: {user[:60]!r} must be 1 to 128 letters, digits and . _ : @ + - with a letter or digit first.",
            field="user",
        ) from None


def caller_token(settings: Settings, tenant: str, user: str) -> str | None:
    """What vouches for a message of this command, where the site asks for that. Raises SettingsFault."""
    from records.caller_tokens import CallerTokens

    return CallerTokens.open(settings).sign(tenant, user)
