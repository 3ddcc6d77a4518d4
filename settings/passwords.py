"""Passwords inside addresses are never shown."""

from __future__ import annotations

import re

__all__ = ["hide_passwords"]

# up to the last @, for a password may hold / and @ that were not written as %2F and %40; a port is no password
_BEFORE_THE_HOST = re.compile(r"(://[^:/@\s]*:)(?!\d+(?:[/?]|$))\S*(?=@)")
_IN_THE_QUERY = re.compile(r"([?&][^=&\s]*password=)[^&\s]*", re.IGNORECASE)


def hide_passwords(text: str) -> str:
    """``text`` with ``***`` for the password of every address in it."""
    return _IN_THE_QUERY.sub(r"\1***", _BEFORE_THE_HOST.sub(r"\1***", text))
