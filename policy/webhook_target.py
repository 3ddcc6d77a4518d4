"""Where a webhook may go: the hosts that its tenant lists, and never by accident into the site's own network."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from dialogue.faults import WebhookFailed, WebhookRefused

__all__ = ["Target", "check_target", "resolved"]

ANY = "*"
_BELOW = "*."
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Addresses that a gateway turns into IPv4 ones, private ones among them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called. ``public_only``: a wildcard let it in, so its name must lead to the open network."""

    url: httpx.URL
    public_only: bool


def check_target(url: str, hosts: Iterable[str]) -> Target:
    """``hosts`` are names, addresses, ``*.example.com`` or ``*``. Looks nothing up.

    Raises WebhookRefused.
    """
    try:
        target = httpx.URL(url)
    except httpx.InvalidURL:
        raise _refused("is no URL") from None
    host = target.host.lower().rstrip(".")
    if target.scheme not in ("http", "https") or not host:
        raise _refused("must begin with https:// and name a host")
    if target.userinfo or target.fragment:
        raise _refused("must hold no name, no password and no fragment")
    allowed = {each.lower().rstrip(".") for each in hosts}
    if host in allowed:
        return Target(target, public_only=False)
    below = (_BELOW + host.split(".", level)[-1] for level in range(1, host.count(".") + 1))
    if _is_address(host) or (ANY not in allowed and allowed.isdisjoint(below)):
        raise _refused(f"this tenant's webhook_hosts do not list {host[:100]}")
    if target.scheme != "https":
        raise _refused("must begin with https://, unless webhook_hosts lists the host by its name")
    return Target(target, public_only=True)


async def resolved(target: Target) -> str:
    """The address to call, so that the name cannot lead elsewhere between this check and the call.

    Raises WebhookRefused and WebhookFailed.
    """
    loop = asyncio.get_running_loop()
    host = target.url.host
    try:
        found = await loop.getaddrinfo(host, target.url.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise WebhookFailed(f"webhook.url: the name {host} leads nowhere now ({error.strerror}).") from None
    addresses = [str(each[4][0]) for each in found]
    if target.public_only and not all(_is_public(address) for address in addresses):
        raise _refused(f"{host} leads into a private network; list it by its name in webhook_hosts if that is meant")
    return addresses[0]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return False
        address = address.ipv4_mapped or address.sixtofour or address
    return address.is_global and not address.is_multicast


def _is_address(host: str) -> bool:
    """Whether ``host`` is an address, also in a form that only resolvers take for one (``0x7f.1``)."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        last = host.rsplit(".", 1)[-1]
        return last.isdecimal() or last.startswith("0x")
    return True


def _refused(why: str) -> WebhookRefused:
    return WebhookRefused(f"webhook.url: {why}.", field="webhook.url")
