"""The user's address comes from the connection, or from what trusted proxies wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import client_address
from settings.schema import GatewaySettings

BEHIND = GatewaySettings(trusted_proxies=("10.0.0.0/8", "::1"))
FORWARDED = GatewaySettings(trusted_proxies=("10.0.0.0/8", "::1"), proxy_header="forwarded")
USERS = st.ip_addresses(network="203.0.113.0/24") | st.ip_addresses(network="2001:db8::/32")
PROXIES = st.ip_addresses(network="10.0.0.0/8")
SPOOFED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


def address(peer: str, settings: GatewaySettings = BEHIND, **headers: str) -> str | None:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return client_address({"type": "http", "client": (peer, 4711), "headers": raw}, settings)


@given(peer=USERS, header=SPOOFED)
def test_whoever_is_no_proxy_is_not_believed(peer: object, header: str) -> None:
    """Whatever the headers say, the address is the connection's."""
    assert address(str(peer), x_forwarded_for=header, forwarded=header) == str(peer)
    assert address(str(peer), FORWARDED, x_forwarded_for=header, forwarded=header) == str(peer)


@given(user=USERS, spoofed=SPOOFED, hops=st.lists(PROXIES, max_size=3), peer=PROXIES, other=SPOOFED)
def test_what_the_user_wrote_before_the_proxies_is_not_believed(
    user: object, spoofed: str, hops: list[object], peer: object, other: str
) -> None:
    """Behind any number of proxies it is the last address that is none of theirs, and the other header is nobody's."""
    chain = ", ".join([spoofed, str(user), *map(str, hops)])
    assert address(str(peer), x_forwarded_for=chain, forwarded=other) == str(user)
    written = ", ".join([spoofed, *(f'for="[{one}]:80";proto=https' for one in (user, *hops))])
    assert address(str(peer), FORWARDED, forwarded=written, x_forwarded_for=other) == str(user)


@pytest.mark.parametrize(
    ("peer", "header", "found"),
    [
        ("10.0.0.1", "203.0.113.9:5566", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:5566", "2001:db8::9"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::1", "203.0.113.9", "203.0.113.9"),
        ("a-socket", "203.0.113.9", "a-socket"),
    ],
)
def test_the_forms_an_address_comes_in(peer: str, header: str, found: str) -> None:
    """With a port, in IPv6 clothes, hidden, all proxies, none, and a peer that is no address."""
    assert address(peer, x_forwarded_for=header) == found


def test_a_header_that_came_several_times_is_one_list() -> None:
    """In the order they came."""
    headers = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"203.0.113.9")]
    assert client_address({"type": "http", "client": ("10.0.0.1", 1), "headers": headers}, BEHIND) == "203.0.113.9"


def test_a_socket_of_this_machine_has_none() -> None:
    """There is nothing to write down."""
    assert client_address({"type": "http", "client": None, "headers": []}, BEHIND) is None
