"""Identifiers that come beside a message: in a path, a header, or a field that names a conversation."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from dialogue.faults import InvalidRequest, unknown_conversation
from dialogue.messages import Identifier

__all__ = ["idempotency_key", "known_conversation"]

IDEMPOTENCY_KEY = "Idempotency-Key"
_identifier = TypeAdapter[str](Identifier)


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The message id that the headers bring. Raises InvalidRequest."""
    given = headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return None
    try:
        return _identifier.validate_python(given)
    except ValidationError:
        raise InvalidRequest(
            f"{IDEMPOTENCY_KEY}: must be 1 to 128 letters, digits and . _ : @ + - with a letter or digit first.",
            field=IDEMPOTENCY_KEY,
        ) from None


def known_conversation(given: str) -> str:
    """An id that a conversation may have. Raises UnknownConversation."""
    try:
        return _identifier.validate_python(given)
    except ValidationError:
        # no conversation can have such a name, and a caller learns no more than for any other that is not theirs
        raise unknown_conversation(repr(given[:60])) from None
