"""Caller tokens vouch for one tenant and one user, for a short while."""

from __future__ import annotations

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest

from dialogue.faults import CallerRefused, InvalidRequest, SettingsFault
from records.caller_tokens import LEEWAY_SECONDS, LONGEST_SECONDS, CallerTokens
from settings.schema import AccessSettings, Settings

KEY, OTHER = b"k" * 32, b"o" * 32
CLAIMS = {"tenant": "acme", "user": "ann", "aud": "parley", "iat": 1000, "exp": 1300, "jti": "1"}


@pytest.fixture
def tokens() -> CallerTokens:
    return CallerTokens((KEY,), demanded=True)


def token(key: Any = KEY, algorithm: str = "HS256", **changed: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    return jwt.encode(claims, key, algorithm)


def refused(tokens: CallerTokens, given: str | None, *, at: float = 1100.0) -> str:
    with pytest.raises(CallerRefused) as caught:
        tokens.verify(given, "acme", "ann", at=at)
    assert given is None or given not in caught.value.message
    return caught.value.message


def test_what_was_signed_holds(tokens: CallerTokens) -> None:
    """Each is another, also of the same moment."""
    signed = [tokens.sign("acme", "ann") for _ in range(2)]
    for each in signed:
        tokens.verify(each, "acme", "ann", at=time.time())
    assert len(set(signed)) == 2


def test_where_nothing_is_demanded_nothing_is_signed_or_looked_at() -> None:
    """The embedded profile: it needs no secret."""
    tokens = CallerTokens()
    assert tokens.sign("acme", "ann") is None
    tokens.verify("nonsense", "acme", "ann", at=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"is missing\. This site asks for one: `parley keys token`"),
        (token(tenant="other"), "vouches for another tenant or user"),
        (token(user="bob"), "vouches for another tenant or user"),
        (token(user=None), "vouches for another tenant or user"),
        (token(aud="another"), "not one that this site's secret signed"),
        (token(key=OTHER), "not one that this site's secret signed"),
        (token(key=None, algorithm="none"), "not one that this site's secret signed"),
        (token(key=KEY * 2, algorithm="HS512"), "not one that this site's secret signed"),
        (token(jti=None), "not one that this site's secret signed"),
        (token(exp=None), "not one that this site's secret signed"),
        (token(exp=1000 + LONGEST_SECONDS + 1), "holds for too long"),
        ("nonsense", "not one that this site's secret signed"),
        ("é.é.é", "not one that this site's secret signed"),
        ("", "not one that this site's secret signed"),
    ],
)
def test_what_does_not_vouch_is_refused(tokens: CallerTokens, given: str | None, said: str) -> None:
    """In one line that holds nothing of the token."""
    with pytest.raises(CallerRefused, match=said) as caught:
        tokens.verify(given, "acme", "ann", at=1100)
    assert "\n" not in caught.value.message


def test_times_are_held_against_the_moment_the_message_came(tokens: CallerTokens) -> None:
    """And not against now: all of this was long ago. Clocks may be a little apart."""
    for good in (1000, 1300, 1000 - LEEWAY_SECONDS, 1300 + LEEWAY_SECONDS):
        tokens.verify(token(), "acme", "ann", at=good)
    assert "was over when the message came" in refused(tokens, token(), at=1301 + LEEWAY_SECONDS)
    assert "was signed after the message came" in refused(tokens, token(), at=999 - LEEWAY_SECONDS)


def test_a_secret_can_be_changed_while_messages_are_under_way() -> None:
    """The first signs, all are taken."""
    both = CallerTokens((OTHER, KEY), demanded=True)
    both.verify(token(), "acme", "ann", at=1100)
    CallerTokens((OTHER,), demanded=True).verify(both.sign("acme", "ann"), "acme", "ann", at=time.time())


@pytest.mark.parametrize("seconds", [0, -1, LONGEST_SECONDS + 1])
def test_only_short_tokens_are_signed(tokens: CallerTokens, seconds: int) -> None:
    """A day at most."""
    with pytest.raises(InvalidRequest, match="seconds: must be more than 0"):
        tokens.sign("acme", "ann", seconds=seconds)


# the secret --------------------------------------------------------------------------------------


def settings(folder: Path, **access: Any) -> Settings:
    return Settings(data=folder, access=AccessSettings(**access))


def test_the_embedded_profile_has_no_secret(tmp_path: Path) -> None:
    """Nothing is made where nothing is demanded."""
    assert CallerTokens.open(settings(tmp_path)).sign("acme", "ann") is None
    assert list(tmp_path.iterdir()) == []


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Many processes that start at once have the same one; nothing else is left in the folder."""
    folder = tmp_path / "data"
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: CallerTokens.open(settings(folder, sdk="signed")), range(8)))
    opened[0].verify(opened[-1].sign("acme", "ann"), "acme", "ann", at=time.time())
    (made,) = folder.iterdir()
    assert made.name == "caller.key"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_a_named_secret_is_never_made(tmp_path: Path) -> None:
    """Several machines share it: one that is made here would fit none of the others."""
    given = settings(tmp_path, sdk="signed", signing_key=tmp_path / "secret")
    with pytest.raises(SettingsFault, match=r"access\.signing_key: .*secret cannot be read \(No such file") as caught:
        CallerTokens.open(given)
    assert caught.value.field == "access.signing_key"
    for short in ("", "\n\n", "too short\n", f"{'k' * 32}\nshort\n"):
        (tmp_path / "secret").write_text(short)
        with pytest.raises(SettingsFault, match="at least 32 characters, one a line"):
            CallerTokens.open(given)
    (tmp_path / "secret").write_text(f"{OTHER.decode()}\n  {KEY.decode()}  \n")
    CallerTokens.open(given).verify(token(), "acme", "ann", at=1100)
