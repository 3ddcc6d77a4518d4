"""Tokens of an OpenID Connect issuer: their signature, issuer, audience and time; the issuer's keys, kept and rotated.

Which algorithm a token may be signed with is the key's to say and never the token's own: ``none``, and a public key
taken for the secret of an HMAC, have no way in. The keys are fetched when the first token comes, again when they are
old, and again for a token of a key that is not known, at most once in ``refetch_seconds``. While the issuer cannot be
reached the last keys it told go on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from dialogue.faults import IssuerUnavailable, Unauthenticated
from settings.schema import OidcSettings

__all__ = ["LEEWAY_SECONDS", "Oidc"]

LEEWAY_SECONDS = 10.0
"""How far two clocks may be apart."""
FETCH_SECONDS = 5.0
"""How long the issuer may take to tell its keys."""
MOST_BYTES = 1_000_000
_BY_KIND = {"RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "OKP": ("EdDSA",)}
_BY_CURVE = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",), "secp256k1": ("ES256K",)}
_DISCOVERY = "/.well-known/openid-configuration"

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class _Key:
    """A public key, the algorithms it may be used with, and when it was last among the issuer's."""

    public: Any
    algorithms: tuple[str, ...]
    seen: float = 0.0


class Oidc:
    """``http`` fetches the keys; ``clock`` counts seconds."""

    def __init__(
        self, settings: OidcSettings, http: httpx.AsyncClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        self._fetched: float | None = None
        self._tried: float | None = None
        self._failed = False
        self._fetching = asyncio.Lock()

    async def claims(self, token: str) -> dict[str, Any]:
        """What the token says. Raises Unauthenticated, or IssuerUnavailable where no key is known yet."""
        import jwt

        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = await self._key(kid if isinstance(kid, str) else None)
            return jwt.decode(
                token,
                key.public,
                algorithms=list(key.algorithms),
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"Authorization: {_why(error)}", field="Authorization") from None

    async def _key(self, kid: str | None) -> _Key:
        # while the issuer cannot be reached, one request at a time asks it and the others go on with what is known
        if self._old(self._settings.cache_seconds, self._fetched) and not (self._failed and self._fetching.locked()):
            await self._fetch()
        key = self._known(kid)
        if key is None:
            await self._fetch()
            key = self._known(kid)
        if key is not None:
            return key
        if self._fetched is None:
            raise IssuerUnavailable(
                f"access.oidc: the keys of {self._settings.issuer} cannot be fetched. Send it again in a moment; an "
                "API key needs no issuer."
            )
        raise Unauthenticated("Authorization: the token was signed with a key that its issuer does not have.")

    def _known(self, kid: str | None) -> _Key | None:
        """The key of that id. A token may leave the id out where there is one key only."""
        oldest = self._clock() - self._settings.cache_seconds
        held = {name: key for name, key in self._keys.items() if key.seen == self._fetched or key.seen > oldest}
        if kid is None:
            return next(iter(held.values())) if len(held) == 1 else None
        return held.get(kid)

    def _old(self, seconds: float, since: float | None) -> bool:
        return since is None or self._clock() - since >= seconds

    async def _fetch(self) -> None:
        """The keys anew, unless somebody just tried. What fails leaves those that are known."""
        async with self._fetching:
            if not self._old(self._settings.refetch_seconds, self._tried):
                return
            self._tried = now = self._clock()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    found = await self._asked()
            except (httpx.HTTPError, TimeoutError, ValueError, TypeError, KeyError) as error:
                # its kind, and not its own words: they can hold what the other side sent
                log.warning("issuer keys not fetched", issuer=self._settings.issuer, error=type(error).__name__)
                self._failed = True
                return
            oldest = now - self._settings.cache_seconds
            kept = {name: key for name, key in self._keys.items() if key.seen > oldest}
            self._keys = kept | {name: _Key(key.public, key.algorithms, now) for name, key in found.items()}
            self._fetched, self._failed = now, False

    async def _asked(self) -> dict[str, _Key]:
        where = self._settings.jwks_uri
        if where is None:
            said = await self._json(self._settings.issuer.rstrip("/") + _DISCOVERY)
            if said["issuer"] != self._settings.issuer:
                raise ValueError("the issuer calls itself otherwise")
            where = str(said["jwks_uri"])
        found = _usable((await self._json(where))["keys"])
        if not found:
            raise ValueError("no key that can be used")
        return found

    async def _json(self, url: str) -> dict[str, Any]:
        async with self._http.stream("GET", url) as response:
            response.raise_for_status()
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise ValueError("far too long")
        value = json.loads(body)
        if not isinstance(value, dict):
            raise TypeError("no object")
        return value


def _usable(keys: list[Mapping[str, Any]]) -> dict[str, _Key]:
    """The public keys for signatures, by their ids. Others, and those that cannot be read, are passed over."""
    import jwt

    found: dict[str, _Key] = {}
    for each in keys:
        algorithms = _algorithms(each)
        if not algorithms or each.get("use", "sig") != "sig":
            continue
        try:
            public = jwt.PyJWK(dict(each), algorithm=algorithms[0]).key
        except jwt.PyJWTError:
            continue
        found[str(each.get("kid", ""))] = _Key(public, algorithms)
    return found


def _algorithms(key: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that its kind allows, and of them only the one that it names; none for a symmetric key."""
    kind = key.get("kty")
    allowed = _BY_CURVE.get(str(key.get("crv")), ()) if kind == "EC" else _BY_KIND.get(str(kind), ())
    named = key.get("alg")
    return allowed if named is None else tuple(name for name in allowed if name == named)


def _why(error: Exception) -> str:
    """In words that name what to do, without the token's own."""
    import jwt

    told = {
        jwt.ExpiredSignatureError: "the token is over. Get a new one.",
        jwt.ImmatureSignatureError: "the token does not hold yet. Compare the clocks.",
        jwt.InvalidAudienceError: "the token is meant for another audience.",
        jwt.InvalidIssuerError: "the token is another issuer's.",
        jwt.MissingRequiredClaimError: "the token has no exp, iss or aud.",
        jwt.InvalidAlgorithmError: "the token is signed with an algorithm that its key does not allow.",
    }
    return told.get(type(error), "the token is not one that its issuer signed.")
