"""A webhook goes where its tenant's list lets it, and by no way into the site's own network."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dialogue.faults import WebhookFailed, WebhookRefused
from policy.webhook_target import check_target, resolved

LISTED = ["hooks.example.com", "*.shop.example", "10.0.0.7"]

REFUSED = [
    "ftp://hooks.example.com/",
    "https:///path",
    "hooks.example.com",
    "https://user:word@hooks.example.com/",
    "https://hooks.example.com/#part",
    "https://other.example.com/",
    "https://shop.example/",
    "https://shop.example.evil.com/",
    "https://evilshop.example/",
    "http://a.shop.example/",
    "https://10.0.0.8/",
    "https://[::1]/",
    "https://0x7f.1/",
    "https://2130706433/",
    "https://exa mple/",
    "\x00",
]


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("hosts", [LISTED, []], ids=["listed", "none"])
def test_refused(url: str, hosts: list[str]) -> None:
    """Another host, another scheme, and what one parser reads so and another otherwise."""
    with pytest.raises(WebhookRefused, match=r"^webhook\.url: "):
        check_target(url, hosts)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://0x7f.1/", "https://[::ffff:10.0.0.1]/", "http://a.b/"])
def test_any_is_no_address_and_no_clear_text(url: str) -> None:
    """``*`` lets in what has a name and speaks TLS."""
    with pytest.raises(WebhookRefused):
        check_target(url, ["*"])


@pytest.mark.parametrize(
    ("url", "public_only"),
    [
        ("http://hooks.example.com:8080/a?b=c", False),
        ("https://HOOKS.example.com./", False),
        ("http://10.0.0.7/", False),
        ("https://eu.pay.shop.example/", True),
    ],
)
def test_listed(url: str, public_only: bool) -> None:
    """A host that is listed by its name may be anywhere; what a wildcard lets in may not."""
    assert check_target(url, LISTED).public_only is public_only


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "fe80::1%lo",
        "::ffff:192.168.0.1",
        "2002:0a00:1::",
        "64:ff9b::a00:1",
        "224.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address to be refused
        "100.64.0.1",
    ],
)
async def test_a_public_name_that_leads_inside(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One private address among those of the name is enough."""
    _names(monkeypatch, ["93.184.216.34", address])
    with pytest.raises(WebhookRefused, match="leads into a private network"):
        await resolved(check_target("https://a.shop.example/", LISTED))


async def test_the_checked_address_is_the_one_to_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a name that leads nowhere is looked up again later."""
    _names(monkeypatch, ["93.184.216.34"])
    assert await resolved(check_target("https://a.shop.example/", LISTED)) == "93.184.216.34"
    _names(monkeypatch, [])
    with pytest.raises(WebhookFailed):
        await resolved(check_target("https://a.shop.example/", LISTED))


def _names(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if not addresses:
            raise OSError(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, 443)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
