"""Connects to Redis as ``records.token_log`` says, and turns what goes wrong there into faults with a way out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dialogue.faults import TokenLogUnavailable
from settings.schema import RedisTlsSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["available", "close_redis", "connect_redis", "patience_of"]

SECONDS = 5.0
"""For connecting, and for one answer. The URL may give others: ``?socket_timeout=``, ``?socket_connect_timeout=``."""


def connect_redis(url: str, connections: int, tls: RedisTlsSettings | None = None) -> Redis:
    """A client of at most so many connections, made when they are needed; whoever finds none free waits for one.

    It sends nothing twice: what was sent when a connection was lost may have been done. Raises TokenLogUnavailable
    where redis-py is not installed, and for a URL that cannot be used. ``url`` may hold a password and is not repeated.
    ``tls``: certificates for a ``rediss://`` URL.
    """
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.connection import parse_url
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
    except ModuleNotFoundError as error:
        raise TokenLogUnavailable(
            "records.token_log: the package redis is not installed. Run `pip install 'parley[redis]'`."
        ) from error
    options: dict[str, Any] = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS, "socket_keepalive": True}
    try:
        options.update(parse_url(url), **_certificates(tls))
        # Version 2 of the protocol: with 3 the pool takes connections that the server has closed for living ones.
        options.update(max_connections=connections, protocol=2, decode_responses=False, retry=Retry(NoBackoff(), 0))
        pool = BlockingConnectionPool(**options)
        pool.make_connection()  # an option that is unknown is found here
    except (ValueError, TypeError, RedisError) as error:
        why = f" ({_reason(error)})" if isinstance(error, TypeError) else ""
        raise TokenLogUnavailable(
            f"records.token_log: not a URL of Redis{why}. Use redis://user:password@host:6379/0, or rediss:// for TLS."
        ) from None
    return Redis.from_pool(pool)


def _certificates(tls: RedisTlsSettings | None) -> dict[str, str]:
    if tls is None:
        return {}
    named = {"ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    return {name: str(path) for name, path in named.items() if path is not None}


def patience_of(redis: Redis) -> float:
    """Seconds that a connection waits for an answer."""
    return redis.connection_pool.connection_kwargs["socket_timeout"]


async def close_redis(redis: Redis) -> None:
    """Gives back its connections, whatever state they are in."""
    from redis.exceptions import RedisError

    with contextlib.suppress(RedisError, OSError):
        await redis.aclose()


@contextlib.contextmanager
def available(shown: str) -> Iterator[None]:
    """Raises TokenLogUnavailable for what Redis refuses and for a Redis that is gone. ``shown``: its URL.

    The fault's detail ``silent`` is true where no answer came in time.
    """
    from redis import exceptions

    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise TokenLogUnavailable(
            f"records.token_log: {shown} cannot be used: {_reason(error)}. {_way_out(error)}",
            silent=isinstance(error, exceptions.TimeoutError | TimeoutError),
        ) from error


def _way_out(error: Exception) -> str:
    from redis import exceptions

    # what it says of a long command before the password
    unauthenticated = "unauthenticated" in str(error)
    if unauthenticated or isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return "Correct the user and the password in its URL, or what this user may do."
    if isinstance(error, exceptions.OutOfMemoryError):
        return "Give Redis more memory, or keep streams for a shorter time (records.retention.token_log)."
    if isinstance(error, exceptions.ReadOnlyError):
        return "Name the primary: this is a replica."
    return "Check that Redis runs there and can be reached."


def _reason(error: Exception) -> str:
    """Its own words, as one sentence on one line."""
    words = " ".join(str(error).split()).rstrip(".").replace(". ", ": ")
    return words or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
