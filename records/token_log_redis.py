"""The token log in Redis: the back end for a site of several machines. Needs the extra ``redis``.

A stream is three keys with one hash tag, so that they lie in one slot of a cluster: a hash (ids, fences, sizes), a
Redis Stream (the events) and a string (the token ids). Each write is one call of ``token_log_redis.lua``, which Redis
runs alone and writes to its log as one transaction. Nothing is sent again by itself after a lost connection: a write
that arrived would be refused the second time. A stream that is not written to goes by itself after ``keep_seconds``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgpack

from dialogue.faults import TokenLogUnavailable
from records import token_log_rules as rules
from records.redis_client import available, close_redis, connect_redis, patience_of
from records.token_log import DEFAULT_MAX_STREAM_BYTES, ENDS, Resume, StreamEvent, TokenLog
from records.token_log_seal import Chunk, StreamSeal
from settings.passwords import hide_passwords
from settings.schema import RedisTlsSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from records.data_keys import DataKeys

__all__ = ["RedisTokenLog"]

CONNECTIONS = 16
"""For all writes and short reads of a process; whoever finds none free waits. A follower has one of its own."""

REST_SECONDS = 10.0
"""After no answer came in time, nothing is asked for so long: else every step of a turn would wait anew."""

PATIENCE_SECONDS = 30.0
"""How long a follower that has read before waits for a Redis that is gone: a restart, a failover."""

_BLOCK_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_READ_AT_ONCE = 1000
_PREFIX = "parley:"
_STATE = ":state"
_SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
_DIGEST = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_Result = TypeVar("_Result")


class RedisTokenLog(TokenLog):
    """``url`` is ``redis://user:password@host:port/number`` or ``rediss://`` for TLS. Connects when it is used.

    ``tls``: certificates for ``rediss://``. ``clock`` gives seconds since the epoch. Raises TokenLogUnavailable for a
    URL that cannot be used, and where the extra is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: RedisTlsSettings | None = None,
        keep_seconds: float = 7 * 86_400,
        max_stream_bytes: int = DEFAULT_MAX_STREAM_BYTES,
        clock: Callable[[], float] = time.time,
        keys: DataKeys | None = None,
    ) -> None:
        self._seal = StreamSeal(keys)
        self._url, self._tls = url, tls
        self._shown = hide_passwords(url)
        self._keep = max(1, round(keep_seconds * 1000))
        self._max_stream_bytes = max_stream_bytes
        self._clock = clock
        self._redis = connect_redis(url, CONNECTIONS, tls)
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._silent_until = 0.0
        self._waiting: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def publish(self, stream: str, kind: str, data: Mapping[str, Any], *, key: str | None = None) -> int:
        rules.check_kind(kind)
        bounded = kind not in ENDS
        text = await self._seal.event(stream, kind, data)
        if bounded and len(text) > self._max_stream_bytes:
            raise rules.full(stream, self._max_stream_bytes)
        (id_,) = await self._write(stream, "publish", int(key is not None), key or "", int(bounded), kind, text)
        return id_

    async def open_attempt(self, stream: str, try_number: int, candidate: int, attempt: int) -> Resume:
        last, records = await self._write(stream, "open", try_number, candidate, attempt)
        return Resume(*await self._opened(records, stream, try_number, candidate), last)

    async def append_tokens(
        self,
        stream: str,
        try_number: int,
        candidate: int,
        attempt: int,
        expected_offset: int,
        token_ids: Sequence[int],
        pieces: Sequence[tuple[str, str]],
        *,
        show: bool | None = None,
    ) -> int:
        (ids, text), shown = await self._seal.batch(
            stream, try_number, candidate, expected_offset, token_ids, pieces,
            show=candidate == 0 if show is None else show,
        )  # fmt: skip
        events = [part for event in shown for part in event]
        size = len(ids) + len(text)
        if size > self._max_stream_bytes:
            raise rules.full(stream, self._max_stream_bytes)
        (last,) = await self._write(
            stream, "append", try_number, candidate, attempt, expected_offset,
            len(token_ids), size, msgpack.packb((try_number, candidate, ids, text)), *events,
        )  # fmt: skip
        return last

    async def read(self, stream: str, after: int = 0, limit: int = _READ_AT_ONCE) -> list[StreamEvent]:
        async with self._asking():
            found: Any = await self._redis.xread({_keys(stream)[1]: f"{after}-0"}, count=limit)
        return await self._seal.opened_events(stream, _events(stream, found))

    async def follow(
        self, stream: str, after: int = 0, *, until_kinds: Sequence[str] = ENDS
    ) -> AsyncGenerator[StreamEvent, None]:
        async with contextlib.aclosing(self._batches(stream, after)) as batches:
            async for batch in batches:
                for event in await self._seal.opened_events(stream, batch):
                    yield event
                    if event.kind in until_kinds:
                        return

    async def tokens(self, stream: str, try_number: int, candidate: int) -> tuple[int, ...]:
        async with self._asking():
            records: Any = await self._redis.get(_keys(stream)[2])
        return (await self._opened(records or b"", stream, try_number, candidate))[0]

    async def trim(self, older_than: float) -> int:
        """Looks at every stream. Needed for a shorter time alone than ``keep_seconds``, after which Redis does it."""
        before, removed, cursor = self._clock() - older_than, 0, None
        while cursor != 0:
            async with self._asking():
                page: Any = await self._redis.scan(cursor or 0, _keys("*")[0], count=_READ_AT_ONCE)
            cursor, keys = page
            trimmed = (self._write(_stream_of(key), "trim", before) for key in keys)
            removed += sum(count for (count,) in await asyncio.gather(*trimmed))
        return removed

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in self._waiting:
            task.cancel()
        if self._waiting:
            await asyncio.wait(self._waiting)
        await close_redis(self._redis)

    # within

    async def _opened(
        self, records: bytes, stream: str, try_number: int, candidate: int
    ) -> tuple[tuple[int, ...], str]:
        chunks = _unpack(records, stream, try_number, candidate)
        return await self._seal.opened_batches(stream, try_number, candidate, chunks)

    async def _write(self, stream: str, operation: str, *arguments: Any) -> list[Any]:
        """What the script answered behind its ``ok``. Raises TokenLogFenced and TokenLogUnavailable."""
        from redis.exceptions import NoScriptError

        call = (3, *_keys(stream), operation, repr(self._clock()), self._keep, self._max_stream_bytes, *arguments)
        async with self._asking():
            try:
                status, *answer = await self._redis.evalsha(_DIGEST, *call)
            except NoScriptError:  # a Redis that was started since
                status, *answer = await self._redis.eval(_SCRIPT, *call)
        if status == b"ok":
            return answer
        raise self._refusal(status.decode(), stream, arguments, *answer)

    def _refusal(self, why: str, stream: str, arguments: tuple[Any, ...], there: int = 0) -> Exception:
        if why == "full":
            return rules.full(stream, self._max_stream_bytes)
        if why == "stream_ended":
            return rules.stream_ended(stream)
        try_number, _, attempt, *rest = arguments
        if why == "try_over":
            return rules.try_over(stream, try_number, there)
        if why == "wrong_offset":
            return rules.wrong_offset(stream, try_number, attempt, rest[0], there)
        refuse = rules.replaced if why == "replaced" else rules.wrong_attempt
        return refuse(stream, try_number, attempt, there)

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """For calls that are answered at once. Where one was not, those after it are refused for a while."""
        self._check_open()
        async with self._free:
            if time.monotonic() < self._silent_until:
                raise TokenLogUnavailable(
                    f"records.token_log: {self._shown} did not answer, and is asked again in a while. "
                    "Check that Redis runs there and can be reached."
                )
            try:
                with available(self._shown):
                    async with asyncio.timeout(patience_of(self._redis)):
                        yield
            except TokenLogUnavailable as fault:
                if fault.details.get("silent"):
                    self._silent_until = time.monotonic() + REST_SECONDS
                raise

    async def _batches(self, stream: str, after: int) -> AsyncGenerator[list[StreamEvent], None]:
        """The events above ``after`` as they come, over a connection of its own, across lost connections."""
        self._check_open()
        reached: float | None = None
        connected, had = False, 0
        redis = connect_redis(self._url, 1, self._tls)
        try:
            while True:
                try:
                    if not connected:
                        last = await self._unless_closed(self._last_id(redis, stream))
                        if last < had:
                            break
                        connected, reached = True, time.monotonic()
                    found = await self._unless_closed(self._wait(redis, stream, after))
                    reached = time.monotonic()
                except TokenLogUnavailable:
                    if self._closed or reached is None or time.monotonic() - reached > PATIENCE_SECONDS:
                        raise
                    connected = False
                    await self._unless_closed(asyncio.sleep(_PAUSE_SECONDS))
                    continue
                if batch := _events(stream, found):
                    after = had = batch[-1].id
                    yield batch
        finally:
            await close_redis(redis)
        raise TokenLogUnavailable(
            f"{stream}: events up to {had} were read, but after a restart Redis holds {last}. "
            "Read the stream from its beginning."
        )

    async def _wait(self, redis: Redis, stream: str, after: int) -> Any:
        """What XREAD gives, until there is an event above ``after``, or some seconds have passed."""
        # shorter than a connection waits for an answer, or silence would be taken for a lost connection
        block = max(1, round(min(_BLOCK_SECONDS, patience_of(redis) / 2) * 1000))
        with available(self._shown):
            return await redis.xread({_keys(stream)[1]: f"{after}-0"}, _READ_AT_ONCE, block)

    async def _last_id(self, redis: Redis, stream: str) -> int:
        with available(self._shown):
            return int(await redis.hget(_keys(stream)[0], "last") or 0)

    async def _unless_closed(self, work: Awaitable[_Result]) -> _Result:
        """Awaits ``work``. Raises TokenLogUnavailable when the log is closed meanwhile."""
        task = asyncio.ensure_future(work)
        self._waiting.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._closed and current is not None and not current.cancelling():
                raise rules.closed(self._shown) from None
            raise
        finally:
            self._waiting.discard(task)

    def _check_open(self) -> None:
        if self._closed:
            raise rules.closed(self._shown)


def _keys(stream: str) -> tuple[str, str, str]:
    """Of its state, its events and its tokens. Of ``*``: patterns."""
    return f"{_PREFIX}{{{stream}}}{_STATE}", f"{_PREFIX}{{{stream}}}:events", f"{_PREFIX}{{{stream}}}:tokens"


def _stream_of(state_key: bytes) -> str:
    return state_key.decode()[len(_PREFIX) + 1 : -len(_STATE) - 1]


def _events(stream: str, found: Any) -> list[StreamEvent]:
    """What XREAD gave of one stream. Raises TokenLogUnavailable for what the script does not write."""
    return [_event(stream, id_, entry) for _, entries in found for id_, entry in entries]


def _event(stream: str, id_: bytes, entry: Mapping[bytes, bytes]) -> StreamEvent:
    try:
        kind, data, at = entry[b"kind"].decode(), entry[b"data"], float(entry[b"at"])
    except (KeyError, ValueError):
        raise rules.damaged(stream) from None
    return StreamEvent(int(id_.partition(b"-")[0]), kind, rules.from_json(stream, data), at)


def _unpack(records: bytes, stream: str, try_number: int, candidate: int) -> list[Chunk]:
    """What was appended to one candidate of one try. Raises TokenLogUnavailable for what was not written here."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(records)
    try:
        found = [(ids, text) for *place, ids, text in unpacker if place == [try_number, candidate]]
    except (ValueError, TypeError, msgpack.UnpackException):
        raise rules.damaged(stream) from None
    if not all(isinstance(part, bytes) for chunk in found for part in chunk):
        raise rules.damaged(stream)
    return found
