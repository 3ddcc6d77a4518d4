"""Each tenant has its own bounds; several gateways count together; a store that is lost costs no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from dialogue.faults import LimitReached
from gateway import limits as limits_module
from gateway.limits import Limits
from settings.schema import GatewaySettings, LimitSettings, RecordsSettings, Settings, TenantSettings
from tests.support.redis_server import RedisServer, redis_server

TENANTS = {
    "slow": TenantSettings(limits=LimitSettings(requests_per_minute=2)),
    "dear": TenantSettings(limits=LimitSettings(tokens_per_minute=100)),
    "busy": TenantSettings(limits=LimitSettings(concurrent_turns=2, max_body=2000)),
    "free": TenantSettings(),
}


def settings_with(token_log: str) -> Settings:
    return Settings(
        tenants=TENANTS, records=RecordsSettings(token_log=token_log), gateway=GatewaySettings(max_body=9000)
    )


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[Limits]:
    url = "sqlite" if request.param == "memory" else request.getfixturevalue("server").url
    opened = Limits.open(settings_with(url))
    yield opened
    await opened.aclose()


async def test_requests_in_a_minute(limits: Limits) -> None:
    """One too many is refused with when to come back; other tenants go on."""
    await limits.request("slow")
    await limits.request("slow")
    with pytest.raises(LimitReached, match=r"tenant slow: it may send 2 messages a minute\. Send it again in") as told:
        await limits.request("slow")
    assert 1 <= told.value.details["retry_after"] <= 60
    for _ in range(5):
        await limits.request("free")


async def test_tokens_in_a_minute(limits: Limits) -> None:
    """What an answer cost is counted whole; the next message is refused once they are spent."""
    await limits.request("dear")
    await limits.spend("dear", "a", 99)
    await limits.request("dear")
    await limits.spend("dear", "b", 5000)
    with pytest.raises(LimitReached, match="its 100 tokens of this minute are spent") as told:
        await limits.request("dear")
    assert 1 <= told.value.details["retry_after"] <= 60


async def test_turns_at_once(limits: Limits) -> None:
    """The third waits its turn; one that ends, by an error too, makes room."""
    async with AsyncExitStack() as turns:
        await turns.enter_async_context(limits.turn("busy", "a"))
        with pytest.raises(LimitReached, match="2 turns at once"):
            async with limits.turn("busy", "b"):
                await turns.enter_async_context(limits.turn("busy", "c"))
        await turns.enter_async_context(limits.turn("busy", "b"))
        await turns.enter_async_context(limits.turn("busy", "a"))  # said again: the same turn
    async with limits.turn("free", "a"), limits.turn("free", "b"), limits.turn("free", "c"):
        pass
    async with limits.turn("busy", "d"), limits.turn("busy", "e"):
        pass


async def test_the_size_of_a_body() -> None:
    """A tenant's own, else the gateway's."""
    limits = Limits.open(settings_with("sqlite"))
    assert [limits.max_body(tenant) for tenant in ("busy", "free", None)] == [2000, 9000, 9000]


async def test_gateways_count_together(server: RedisServer) -> None:
    """Two processes over one Redis are one gateway to a tenant."""
    first, second = (Limits.open(settings_with(server.url)) for _ in range(2))
    await first.request("slow")
    await second.request("slow")
    with pytest.raises(LimitReached):
        await first.request("slow")
    async with first.turn("busy", "a"), second.turn("busy", "b"):
        with pytest.raises(LimitReached):
            async with second.turn("busy", "c"):
                pass
        async with second.turn("busy", "a"):
            pass
    await first.aclose()
    await second.aclose()


async def test_a_turn_is_paid_for_once(server: RedisServer) -> None:
    """Whichever gateway its message comes to, and after a restart."""
    for _ in range(3):
        gateway = Limits.open(settings_with(server.url))
        await gateway.spend("dear", "a", 60)
        await gateway.request("dear")
        await gateway.aclose()
    last = Limits.open(settings_with(server.url))
    await last.spend("dear", "b", 60)
    with pytest.raises(LimitReached):
        await last.request("dear")
    await last.aclose()


async def test_a_turn_is_held_while_it_runs(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than its lease; the one of a gateway that died is forgotten with its lease."""
    monkeypatch.setattr(limits_module, "LEASE_SECONDS", 3)  # renewed in time on a busy machine too
    alive, dead = (Limits.open(settings_with(server.url)) for _ in range(2))
    await dead.turn("busy", "dead").__aenter__()
    async with alive.turn("busy", "first"):
        await dead.aclose()
        async with asyncio.timeout(20):
            while not await _taken(alive):  # noqa: ASYNC110 - a lease that ends tells nobody
                await asyncio.sleep(0.05)
        async with alive.turn("busy", "second"):
            with pytest.raises(LimitReached):
                await _enter(alive)
    await alive.aclose()


async def _enter(limits: Limits) -> None:
    async with limits.turn("busy", "one more"):
        pass


async def _taken(limits: Limits) -> bool:
    try:
        await _enter(limits)
    except LimitReached:
        return False
    return True


async def test_a_lost_store_refuses_nobody(
    server: RedisServer, logged: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once; when it is back it counts again."""
    limits = Limits.open(settings_with(server.url))
    await limits.request("slow")
    server.kill()
    for _ in range(5):
        await limits.request("slow")
        async with limits.turn("busy", "a"), limits.turn("busy", "b"), limits.turn("busy", "c"):
            await limits.spend("dear", "a", 1000)
    assert [line["event"] for line in logged] == ["limits lost"]
    server.start()
    monkeypatch.setattr(limits, "_lost_until", 0.0)
    await limits.request("slow")
    with pytest.raises(LimitReached):
        await limits.request("slow")
    assert [line["event"] for line in logged] == ["limits lost", "limits back"]
    await limits.aclose()
