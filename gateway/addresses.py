"""The user's IP address: the connection's own, or what a trusted proxy says of it.

A header is whatever its sender wrote. Each proxy appends the address that it was called from, so what proxies of ours
wrote stands at the right end: that list is read from there, over the proxies that ``gateway.trusted_proxies`` names,
and the first address that is none of theirs is the user's. What stands left of it nobody vouches for.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope

from settings.schema import GatewaySettings

__all__ = ["client_address"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(scope: Scope, settings: GatewaySettings) -> str | None:
    """The address for the audit row; ``None`` where the connection has none (a socket of this machine)."""
    client = scope.get("client")
    if not client:
        return None
    found = _parsed(client[0])
    if found is None:
        return client[0]
    networks = _networks(settings.trusted_proxies)
    if _is_within(found, networks):
        for hop in _told(Headers(scope=scope), settings.proxy_header):
            if (address := _parsed(hop)) is None:
                break  # hidden, or no address at all: the proxy that wrote it is the last that is known
            found = address
            if not _is_within(found, networks):
                break
    return str(found)


def _told(headers: Headers, name: str) -> Iterator[str]:
    """The addresses of the header, the nearest first. A header that came several times is one list."""
    for element in reversed(",".join(headers.getlist(name)).split(",")):
        if name == "x-forwarded-for":
            yield element
        else:
            pairs = (pair.partition("=") for pair in element.split(";"))
            yield next((value for key, _, value in pairs if key.strip().lower() == "for"), "")


def _parsed(written: str) -> _Address | None:
    """Without quotes, brackets and port; an IPv4 address in IPv6 clothes as itself."""
    text = written.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_within(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=16)
def _networks(written: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in written)
