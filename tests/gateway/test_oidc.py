"""An issuer's tokens are taken when all of it holds, and its keys may change while the gateway runs."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dialogue.faults import IssuerUnavailable, Unauthenticated
from gateway.oidc import LEEWAY_SECONDS, Oidc
from settings.schema import OidcSettings
from tests.support.issuer import AUDIENCE, Issuer

REFETCH, CACHE = 30.0, 3600.0
HOUR = 3600


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def first(issuer: Issuer) -> Any:
    """The private half of the key ``first``."""
    return issuer.add("first")


@pytest.fixture
async def oidc(issuer: Issuer, clock: Clock) -> AsyncIterator[Oidc]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield Oidc(_settings(issuer), http, clock=clock)


def _settings(issuer: Issuer, **given: Any) -> OidcSettings:
    return OidcSettings(issuer=issuer.url, audience=AUDIENCE, refetch_seconds=REFETCH, cache_seconds=CACHE, **given)


async def _refused(oidc: Oidc, token: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await oidc.claims(token)
    assert "\n" not in refused.value.message
    assert token not in refused.value.message
    return refused.value.message


async def test_a_token_that_holds_tells_its_claims(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """The issuer is asked once, where its keys are and for them; then never again for a known key."""
    for _ in range(3):
        claims = await oidc.claims(issuer.token(first, "first"))
    assert (claims["tenant"], claims["sub"], claims["scope"]) == ("acme", "ann", "chat")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_many_at_once_ask_the_issuer_once(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """A gateway that just started under load."""
    await asyncio.gather(*(oidc.claims(issuer.token(first, "first")) for _ in range(20)))
    assert issuer.asked.count("/keys") == 1


async def test_elliptic_keys_and_a_named_address_do_too(issuer: Issuer) -> None:
    """With ``jwks_uri`` nothing is discovered; a token may leave the key's id out where there is one key."""
    private = issuer.add("curve", "EC")
    async with httpx.AsyncClient(trust_env=False) as http:
        oidc = Oidc(_settings(issuer, jwks_uri=f"{issuer.url}/elsewhere"), http)
        assert await oidc.claims(issuer.token(private, "curve", "ES256"))
        assert await oidc.claims(issuer.token(private, None, "ES256"))
    assert issuer.asked == ["/elsewhere"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"aud": "another"}, "meant for another audience"),
        ({"aud": None}, "no exp, iss or aud"),
        ({"iss": "https://elsewhere.example"}, "another issuer's"),
        ({"iss": None}, "no exp, iss or aud"),
        ({"exp": int(time.time()) - HOUR}, "the token is over"),
        ({"exp": None}, "no exp, iss or aud"),
        ({"nbf": int(time.time()) + HOUR}, "does not hold yet"),
    ],
)
async def test_a_claim_that_is_wrong_or_missing_is_refused(
    oidc: Oidc, issuer: Issuer, first: Any, changed: dict[str, Any], said: str
) -> None:
    """Each by itself, in a token that is otherwise right."""
    assert said in await _refused(oidc, issuer.token(first, "first", **changed))


async def test_clocks_may_be_a_little_apart(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """A token that has just ended, or begins in a moment."""
    now = int(time.time())
    little = LEEWAY_SECONDS / 2
    assert await oidc.claims(issuer.token(first, "first", exp=now - little, nbf=now + little))


async def test_an_unsigned_token_is_refused(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """``alg: none``, in whatever letters, and a signature cut off."""
    good = issuer.token(first, "first")
    body = good.split(".")[1]
    for none in ("none", "None", "NONE", ""):
        header = base64.urlsafe_b64encode(json.dumps({"alg": none, "kid": "first"}).encode()).decode().rstrip("=")
        await _refused(oidc, f"{header}.{body}.")
    await _refused(oidc, good.rpartition(".")[0] + ".")


async def test_a_public_key_is_no_secret(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """HS256 with the public key as the secret, in each form that it can be had in."""
    public = first.public_key()
    forms = [
        public.public_bytes(encoding, form)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        for form in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1)
    ]
    forms += [json.dumps(issuer.keys["first"]).encode(), issuer.keys["first"]["n"].encode()]
    for secret in forms:
        said = await _refused(oidc, _hmac(secret, issuer))
        assert "an algorithm that its key does not allow" in said


def _hmac(secret: bytes, issuer: Issuer) -> str:
    """By hand: the library signs nothing with a public key."""
    import hashlib
    import hmac

    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).decode().rstrip("=")

    claims = {"iss": issuer.url, "aud": AUDIENCE, "exp": int(time.time()) + 300, "tenant": "acme", "sub": "ann"}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "first"}, claims))
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


async def test_a_symmetric_key_of_the_issuer_is_not_used(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """Nor one for encryption, nor one that cannot be read; the others of the set are."""
    secret = b"a secret of thirty-two bytes or so"
    issuer.keys["shared"] = {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(secret).decode()}
    issuer.keys["broken"] = {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}
    sealing = issuer.add("sealing")
    issuer.keys["sealing"]["use"] = "enc"
    await _refused(oidc, issuer.token(secret, "shared", "HS256"))
    await _refused(oidc, issuer.token(sealing, "sealing"))
    assert await oidc.claims(issuer.token(first, "first"))


async def test_a_key_that_names_its_algorithm_allows_no_other(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """RS512 with a key for RS256."""
    issuer.keys["first"]["alg"] = "RS256"
    await _refused(oidc, issuer.token(first, "first", "RS512"))
    assert await oidc.claims(issuer.token(first, "first", "RS256"))


async def test_another_s_signature_is_refused(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """Under the id of a key that is known."""
    stranger = rsa.generate_private_key(65537, 2048)
    assert "not one that its issuer signed" in await _refused(oidc, issuer.token(stranger, "first"))


@pytest.mark.parametrize("token", ["", "a.b.c", "..", "é.é.é", "eyJhbGciOiJSUzI1NiJ9.e30.AA", "a" * 10_000])
async def test_what_is_no_token_is_refused(oidc: Oidc, issuer: Issuer, first: Any, token: str) -> None:
    """Whatever it is."""
    with pytest.raises(Unauthenticated):
        await oidc.claims(token)


async def test_a_new_key_is_taken_when_its_first_token_comes(
    oidc: Oidc, issuer: Issuer, clock: Clock, first: Any
) -> None:
    """Rotation: the issuer signs with a key that was not there before. The old one's tokens hold on."""
    assert await oidc.claims(issuer.token(first, "first"))
    second = issuer.add("second")
    clock.now += REFETCH
    assert await oidc.claims(issuer.token(second, "second"))
    assert await oidc.claims(issuer.token(first, "first"))
    assert issuer.asked.count("/keys") == 2


async def test_unknown_keys_ask_the_issuer_now_and_then(oidc: Oidc, issuer: Issuer, clock: Clock, first: Any) -> None:
    """Made-up ids do not have it asked at each request."""
    assert await oidc.claims(issuer.token(first, "first"))
    for number in range(20):
        assert "a key that its issuer does not have" in await _refused(oidc, issuer.token(first, f"made-up-{number}"))
    assert issuer.asked.count("/keys") == 1
    clock.now += REFETCH
    await asyncio.gather(*(_refused(oidc, issuer.token(first, f"made-up-{number}")) for number in range(20)))
    assert issuer.asked.count("/keys") == 2


async def test_a_withdrawn_key_goes_on_until_its_cache_ends(
    oidc: Oidc, issuer: Issuer, clock: Clock, first: Any
) -> None:
    """Tokens under way when the issuer takes it back are still taken; an hour later they are not."""
    assert await oidc.claims(issuer.token(first, "first"))
    second = issuer.add("second")
    del issuer.keys["first"]
    clock.now += REFETCH
    assert await oidc.claims(issuer.token(second, "second"))
    assert await oidc.claims(issuer.token(first, "first"))
    clock.now += CACHE - REFETCH
    assert "a key that its issuer does not have" in await _refused(oidc, issuer.token(first, "first"))
    assert await oidc.claims(issuer.token(second, "second"))


async def test_while_the_issuer_is_down_known_keys_go_on(oidc: Oidc, issuer: Issuer, clock: Clock, first: Any) -> None:
    """Also when they are old. Back again, it is asked."""
    assert await oidc.claims(issuer.token(first, "first"))
    issuer.down = True
    for _ in range(3):
        clock.now += CACHE * 2
        assert await oidc.claims(issuer.token(first, "first"))
    issuer.down = False
    second = issuer.add("second")
    clock.now += REFETCH
    assert await oidc.claims(issuer.token(second, "second"))


async def test_without_any_key_the_answer_is_503(oidc: Oidc, issuer: Issuer, clock: Clock, first: Any) -> None:
    """An issuer that was never reached: the token may be right, so it is not 401."""
    issuer.down = True
    with pytest.raises(IssuerUnavailable, match=r"^access\.oidc: the keys of http.* cannot be fetched"):
        await oidc.claims(issuer.token(first, "first"))
    issuer.down = False
    clock.now += REFETCH
    assert await oidc.claims(issuer.token(first, "first"))


async def test_an_issuer_that_calls_itself_otherwise_is_not_believed(oidc: Oidc, issuer: Issuer, first: Any) -> None:
    """Its document could be anybody's."""
    issuer.calls_itself = "https://elsewhere.example"
    with pytest.raises(IssuerUnavailable):
        await oidc.claims(issuer.token(first, "first"))
    assert issuer.asked == ["/.well-known/openid-configuration"]


async def test_nobody_listens(clock: Clock, unused_tcp_port: int) -> None:
    """An address at which there is nothing."""
    settings = OidcSettings(issuer=f"http://127.0.0.1:{unused_tcp_port}", audience=AUDIENCE)
    token = jwt.encode({"exp": 1}, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "x"})
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(IssuerUnavailable):
            await Oidc(settings, http, clock=clock).claims(token)
