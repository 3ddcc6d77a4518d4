"""Caller tokens: a start or message that comes past the gateway, through a Temporal SDK, shows whose it is.

A token is a short JWT, signed with HS256 and a secret that the services, the gateways and the workers share. It vouches
for one tenant and one user. It travels with the message and is looked at once, by ``receive_input``.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from dialogue.faults import CallerRefused, InvalidRequest, SettingsFault
from records.private_file import write_private_once
from settings.layout import Layout
from settings.schema import Settings

__all__ = ["AUDIENCE", "LONGEST_SECONDS", "SECONDS", "CallerTokens"]

AUDIENCE = "parley"
SECONDS = 300
"""How long a token holds where nothing else is asked for."""
LONGEST_SECONDS = 86_400
LEEWAY_SECONDS = 30
"""How far two clocks may be apart."""
LEAST_BYTES = 32
_ALGORITHM = "HS256"
_SETTING = "access.signing_key"


class CallerTokens:
    """Signs with the first of ``keys`` and takes what any of them signed, so that a secret can be changed while
    messages are under way. ``demanded``: whether a message without a token is refused."""

    def __init__(self, keys: tuple[bytes, ...] = (), *, demanded: bool = False) -> None:
        self._keys = keys
        self._demanded = demanded

    @classmethod
    def open(cls, settings: Settings, *, always: bool = False) -> CallerTokens:
        """As ``access.sdk`` says; ``always``: with the secret also where none is demanded. Raises SettingsFault.

        The secret is made where the settings name no file for it and none is there yet.
        """
        demanded = settings.access.sdk == "signed"
        if not (demanded or always):
            return cls()
        given = settings.access.signing_key
        path = settings.resolve(given) if given else Layout.of(settings).caller_key
        if given is None:
            write_private_once(path, secrets.token_urlsafe(48) + "\n")
        return cls(_read(path), demanded=demanded)

    def sign(self, tenant: str, user: str, *, seconds: int = SECONDS) -> str | None:
        """A token that holds for ``seconds`` from now; None where none is needed. Raises InvalidRequest."""
        import jwt

        if not self._keys:
            return None
        if not 0 < seconds <= LONGEST_SECONDS:
            raise InvalidRequest(f"seconds: must be more than 0 and at most {LONGEST_SECONDS}.", field="seconds")
        now = int(time.time())
        claims = {"tenant": tenant, "user": user, "aud": AUDIENCE, "iat": now, "exp": now + seconds}
        return jwt.encode({**claims, "jti": secrets.token_hex(8)}, self._keys[0], _ALGORITHM)

    def verify(self, token: str | None, tenant: str, user: str, *, at: float) -> None:
        """Raises CallerRefused unless the token vouches for both and held when the message came, ``at`` (seconds since
        the epoch): one that waited in a queue is not refused for that."""
        if not self._demanded:
            return
        if token is None:
            raise _refused("is missing. This site asks for one: `parley keys token`")
        claims = self._claims(token)
        issued, over = claims["iat"], claims["exp"]
        if not isinstance(issued, int | float) or not isinstance(over, int | float):
            raise _refused("says no times")
        if over - issued > LONGEST_SECONDS:
            raise _refused(f"holds for too long. Sign one for at most {LONGEST_SECONDS} seconds")
        if at > over + LEEWAY_SECONDS:
            raise _refused("was over when the message came. Sign a new one for each message")
        if at < issued - LEEWAY_SECONDS:
            raise _refused("was signed after the message came. Compare the clocks")
        if (claims.get("tenant"), claims.get("user")) != (tenant, user):
            raise _refused("vouches for another tenant or user")

    def _claims(self, token: str) -> dict[str, Any]:
        import jwt

        options: Any = {"require": ["exp", "iat", "aud", "jti"], "verify_exp": False, "verify_iat": False}
        for key in self._keys:
            try:
                return jwt.decode(token, key, algorithms=[_ALGORITHM], audience=AUDIENCE, options=options)
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidTokenError:
                break
        raise _refused("is not one that this site's secret signed for it")


def _refused(what: str) -> CallerRefused:
    return CallerRefused(f"caller: the token {what}.", field="caller")


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingsFault(
            f"{_SETTING}: {path} cannot be read ({error.strerror}). Put the secret there, the same for every gateway "
            "and worker.",
            field=_SETTING,
        ) from None
    keys = tuple(line.strip() for line in lines if line.strip())
    if not keys or min(map(len, keys)) < LEAST_BYTES:
        raise SettingsFault(
            f"{_SETTING}: {path} must hold a secret of at least {LEAST_BYTES} characters, one a line: the first signs, "
            "all are taken.",
            field=_SETTING,
        )
    return keys
