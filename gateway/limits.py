"""What each tenant may use: requests and tokens in a minute, turns at once.

Requests are counted over any sixty seconds; tokens, which are many, in minutes that begin with the first of them. The
counts are this process's own, or Redis's where the token log is there, so that several gateways count together. Redis
lost costs the limits and never an answer: it is said once, and asked again after some seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from dialogue.faults import LimitReached
from records.redis_client import close_redis, connect_redis
from settings.schema import LimitSettings, Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["Limits"]

CONNECTIONS = 8
ANSWER_SECONDS = 1.0
"""A store that takes longer counts as lost."""
LOST_SECONDS = 5.0
"""So long it is not asked again."""
LEASE_SECONDS = 60
"""A turn whose gateway died is forgotten after so long."""
TURN_RETRY_SECONDS = 2
SPENT_SECONDS = 86_400
"""So long it is known to all gateways that a turn's tokens were counted,"""
SPENT_TURNS = 1000
"""and of so many of the newest turns to one that has no Redis."""
_UNLIMITED = LimitSettings()
Told = TypeVar("Told")

log: structlog.stdlib.BoundLogger = structlog.get_logger("gateway")


class Limits:
    """One gateway's. :meth:`open` makes it; whoever made it closes it."""

    def __init__(self, tenants: Mapping[str, LimitSettings], largest: int, redis: Redis | None = None) -> None:
        self._tenants = {name: limits for name, limits in tenants.items() if limits != _UNLIMITED}
        self._largest = largest
        self._redis = redis
        if redis is None:
            storage, self._turns = MemoryStorage(), _OwnTurns()
        else:
            pool = redis.connection_pool
            storage = RedisStorage("redis://", implementation="redispy", key_prefix="parley", connection_pool=pool)  # pyright: ignore[reportArgumentType] its options are those of redis-py
            self._turns = _SharedTurns(redis)
        self._storage = storage
        self._requests, self._tokens = MovingWindowRateLimiter(storage), FixedWindowRateLimiter(storage)
        self._lost_until = 0.0
        self._is_lost = False

    @classmethod
    def open(cls, settings: Settings) -> Limits:
        """Raises TokenLogUnavailable for a URL that cannot be used, and where the extra ``redis`` is not installed."""
        tenants = {name: tenant.limits for name, tenant in settings.tenants.items()}
        shared = settings.records.token_log != "sqlite" and any(limits != _UNLIMITED for limits in tenants.values())  # noqa: S105 a log of tokens
        redis = None
        if shared:
            redis = connect_redis(settings.records.token_log, CONNECTIONS, settings.records.redis_tls)
        return cls(tenants, settings.gateway.max_body, redis)

    def max_body(self, tenant: str | None) -> int:
        """Bytes that a body of that tenant may have; ``None``: it is not known yet whose it is."""
        return self._of(tenant).max_body or self._largest

    def outlasts(self, tenant: str) -> bool:
        """Whether a turn counts to its end, also when nobody waits for it any more."""
        limits = self._of(tenant)
        return limits.concurrent_turns is not None or limits.tokens_per_minute is not None

    async def request(self, tenant: str) -> None:
        """Counts one message. Raises LimitReached where it is one too many, or the tokens of the minute are spent."""
        limits = self._of(tenant)
        if limits.tokens_per_minute is not None:
            item = _tokens(limits.tokens_per_minute)
            if await self._asked(self._tokens.test(item, tenant)) is False:
                await self._refuse(self._tokens, item, tenant, f"its {item.amount} tokens of this minute are spent")
        if limits.requests_per_minute is not None:
            item = RateLimitItemPerMinute(limits.requests_per_minute, namespace="requests")
            if await self._asked(self._requests.hit(item, tenant)) is False:
                await self._refuse(self._requests, item, tenant, f"it may send {item.amount} messages a minute")

    async def spend(self, tenant: str, turn: str, tokens: int) -> None:
        """Counts the tokens of a turn's answer, also those over the bound: what was generated was generated. Once, by
        whichever gateway and however often its message is said within a day."""
        limits = self._of(tenant)
        if limits.tokens_per_minute is not None and tokens > 0:
            await self._asked(self._spend(_tokens(limits.tokens_per_minute), tenant, turn, tokens))

    async def _spend(self, item: RateLimitItemPerMinute, tenant: str, turn: str, tokens: int) -> None:
        if await self._turns.is_first(tenant, turn):
            await self._storage.incr(item.key_for(tenant), item.get_expiry(), tokens)

    @contextlib.asynccontextmanager
    async def turn(self, tenant: str, turn: str) -> AsyncIterator[None]:
        """Around the turn of that name; held twice, it counts once. Raises LimitReached where as many run as may."""
        most = self._of(tenant).concurrent_turns
        if most is None:
            yield
            return
        if await self._asked(self._turns.enter(tenant, turn, most)) is False:
            told = f"tenant {tenant}: it may have {most} turns at once. Send it again when one is answered."
            raise LimitReached(told, field="tenant", retry_after=TURN_RETRY_SECONDS)
        try:
            yield
        finally:
            await self._asked(self._turns.leave(tenant, turn))

    async def aclose(self) -> None:
        if isinstance(self._turns, _SharedTurns):
            await self._turns.close()
        if self._redis is not None:
            await close_redis(self._redis)

    def _of(self, tenant: str | None) -> LimitSettings:
        return self._tenants.get(tenant or "", _UNLIMITED)

    async def _refuse(self, limiter: RateLimiter, item: RateLimitItemPerMinute, tenant: str, why: str) -> None:
        stats = await self._asked(limiter.get_window_stats(item, tenant))
        seconds = 1 if stats is None else max(1, math.ceil(stats.reset_time - time.time()))
        told = f"tenant {tenant}: {why}. Send it again in {seconds} s."
        raise LimitReached(told, field="tenant", retry_after=seconds)

    async def _asked(self, asking: Coroutine[Any, Any, Told]) -> Told | None:
        """``None`` where the store is lost: nobody is refused for that."""
        if self._redis is None:
            return await asking
        if time.monotonic() < self._lost_until:
            asking.close()
            return None
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                told = await asking
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            if not self._is_lost:
                log.warning("limits lost", setting="records.token_log", error=type(error).__name__)
            self._is_lost, self._lost_until = True, time.monotonic() + LOST_SECONDS
            return None
        if self._is_lost:
            self._is_lost = False
            log.info("limits back")
        return told


def _tokens(amount: int) -> RateLimitItemPerMinute:
    return RateLimitItemPerMinute(amount, namespace="tokens")


class _OwnTurns:
    """Of this process."""

    def __init__(self) -> None:
        self._running: defaultdict[str, set[str]] = defaultdict(set)
        self._spent: dict[tuple[str, str], None] = {}

    async def enter(self, tenant: str, turn: str, most: int) -> bool:
        running = self._running[tenant]
        if turn not in running and len(running) >= most:
            return False
        running.add(turn)
        return True

    async def leave(self, tenant: str, turn: str) -> None:
        self._running[tenant].discard(turn)

    async def is_first(self, tenant: str, turn: str) -> bool:
        if (tenant, turn) in self._spent:
            return False
        self._spent[tenant, turn] = None
        if len(self._spent) > SPENT_TURNS:
            del self._spent[next(iter(self._spent))]
        return True


_ENTER = """
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not held and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
_HOLD = """
redis.call('ZADD', KEYS[1], 'XX', redis.call('TIME')[1] + ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""


class _SharedTurns:
    """Of all gateways: a sorted set a tenant, each turn with when its lease ends. Held as long as the turn runs."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enter, self._hold = redis.register_script(_ENTER), redis.register_script(_HOLD)
        self._held: dict[str, asyncio.Task[None]] = {}

    async def enter(self, tenant: str, turn: str, most: int) -> bool:
        if not await self._enter(keys=[_key(tenant)], args=[turn, most, LEASE_SECONDS]):
            return False
        if turn not in self._held:
            self._held[turn] = asyncio.create_task(self._keep(tenant, turn))
        return True

    def leave(self, tenant: str, turn: str) -> Coroutine[Any, Any, None]:
        """Held no more from the call on, whether or not Redis can be told."""
        if held := self._held.pop(turn, None):
            held.cancel()
        return self._remove(tenant, turn)

    async def _remove(self, tenant: str, turn: str) -> None:
        await self._redis.zrem(_key(tenant), turn)

    async def is_first(self, tenant: str, turn: str) -> bool:
        """Whether its tokens are counted for the first time."""
        return bool(await self._redis.set(f"parley:spent:{tenant}:{turn}", 1, nx=True, ex=SPENT_SECONDS))

    async def close(self) -> None:
        for held in self._held.values():
            held.cancel()
        await asyncio.gather(*self._held.values(), return_exceptions=True)

    async def _keep(self, tenant: str, turn: str) -> None:
        from redis.exceptions import RedisError

        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(RedisError, OSError):  # lost: the turn goes on, and is held again when it is back
                await self._hold(keys=[_key(tenant)], args=[LEASE_SECONDS, turn])


def _key(tenant: str) -> str:
    return f"parley:turns:{tenant}"
