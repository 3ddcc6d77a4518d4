"""What a caller may act for, and do."""

from __future__ import annotations

import dataclasses

import pytest

from dialogue.faults import Forbidden, UnknownTenant, unknown_tenant
from gateway.caller import ANYONE, Caller

OWN = Caller("acme", None, frozenset({"chat"}), "key", "1234")
ANN = Caller("acme", "ann", frozenset({"review"}), "oidc", "ann")


def test_an_open_gateway_takes_whatever_is_asked() -> None:
    """And where nothing is asked, the tenant and the user that the documentation names."""
    assert ANYONE.for_tenant("acme") == "acme"
    assert ANYONE.for_tenant(None) == "default"
    assert ANYONE.for_user("ann") == "ann"
    assert ANYONE.for_user(None) == "anonymous"
    for scope in ("chat", "review", "operate", "admin"):
        ANYONE.require(scope)


def test_a_key_acts_for_its_own_tenant() -> None:
    """Named or not. Another's is refused in the words for one that is not there."""
    assert OWN.for_tenant(None) == OWN.for_tenant("acme") == "acme"
    for foreign in ("default", "no-such-tenant"):
        with pytest.raises(UnknownTenant) as refused:
            OWN.for_tenant(foreign)
        assert refused.value.message == unknown_tenant(foreign).message


def test_a_key_of_one_user_speaks_for_no_other() -> None:
    """One of a whole tenant speaks for any."""
    assert OWN.for_user("bob") == "bob"
    assert ANN.for_user(None) == ANN.for_user("ann") == "ann"
    with pytest.raises(Forbidden, match=r"^user: this token speaks for ann alone"):
        ANN.for_user("bob")


def test_a_scope_that_is_missing_is_named() -> None:
    """``admin`` holds them all."""
    OWN.require("chat")
    with pytest.raises(Forbidden, match="this key has no scope review"):
        OWN.require("review")
    dataclasses.replace(OWN, scopes=frozenset({"admin"})).require("review")
