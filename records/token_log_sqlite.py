"""The token log in a SQLite file of its own: the embedded back end, for the processes of one machine.

Writes and reads run on two threads of their own, so that no caller's loop waits for a disk or a lock.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dialogue.faults import TokenLogUnavailable
from records import token_log_file
from records import token_log_rules as rules
from records.sqlite_file import is_locked, way_out
from records.token_log import DEFAULT_MAX_STREAM_BYTES, ENDS, Resume, StreamEvent, TokenLog
from records.token_log_file import TokenLogFile
from records.token_log_seal import StreamSeal
from records.token_log_watch import Watcher

if TYPE_CHECKING:
    from records.data_keys import DataKeys

__all__ = ["SqliteTokenLog"]

_READ_AT_ONCE = 1000
_MEANWHILE = "until then answers come without a stream."
_DAMAGED = "It may be deleted (unread streams are lost, no record is)."
_Result = TypeVar("_Result")


class SqliteTokenLog(TokenLog):
    """The file is opened, and made, when it is first used; ``clock`` gives seconds since the epoch."""

    def __init__(
        self,
        path: Path,
        *,
        max_stream_bytes: int = DEFAULT_MAX_STREAM_BYTES,
        clock: Callable[[], float] = time.time,
        keys: DataKeys | None = None,
    ) -> None:
        self._seal = StreamSeal(keys)

        def open_file() -> TokenLogFile:
            return TokenLogFile(path, max_stream_bytes, clock)

        self._writer = _Lane(path, open_file, "token-log-writer")
        self._reader = _Lane(path, open_file, "token-log-reader")
        self._watcher = Watcher(open_file)

    async def publish(self, stream: str, kind: str, data: Mapping[str, Any], *, key: str | None = None) -> int:
        rules.check_kind(kind)
        text = await self._seal.event(stream, kind, data)
        return await self._writer.run(lambda file: file.publish(stream, kind, text, key))

    async def open_attempt(self, stream: str, try_number: int, candidate: int, attempt: int) -> Resume:
        place = (stream, try_number, candidate)
        chunks, events = await self._writer.run(lambda file: file.open_attempt(*place, attempt))
        return Resume(*await self._seal.opened_batches(*place, chunks), events)

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
        place = (stream, try_number, candidate)
        chunk, shown = await self._seal.batch(
            *place, expected_offset, token_ids, pieces, show=candidate == 0 if show is None else show
        )
        return await self._writer.run(
            lambda file: file.append_tokens(*place, attempt, expected_offset, len(token_ids), chunk, shown)
        )

    async def read(self, stream: str, after: int = 0, limit: int = _READ_AT_ONCE) -> list[StreamEvent]:
        events = await self._reader.run(lambda file: file.read(stream, after, limit))
        return await self._seal.opened_events(stream, events)

    async def follow(
        self, stream: str, after: int = 0, *, until_kinds: Sequence[str] = ENDS
    ) -> AsyncGenerator[StreamEvent, None]:
        with self._watcher.following(stream, after) as follower:
            while True:
                found = await follower.more()
                if found is None:
                    found = await self._reader.run(lambda file: file.read(stream, follower.after, _READ_AT_ONCE))
                    follower.after = found[-1].id if found else follower.after
                for event in await self._seal.opened_events(stream, found):
                    yield event
                    if event.kind in until_kinds:
                        return

    async def tokens(self, stream: str, try_number: int, candidate: int) -> tuple[int, ...]:
        place = (stream, try_number, candidate)
        chunks = await self._reader.run(lambda file: file.chunks(*place))
        return (await self._seal.opened_batches(*place, chunks))[0]

    async def trim(self, older_than: float) -> int:
        return await self._writer.run(lambda file: file.trim(older_than))

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close()
        await asyncio.to_thread(self._watcher.close)


class _Lane:
    """One thread with one connection. An error of SQLite costs the connection: the next call opens another.

    A file that stays locked is waited for once; until it is free again, every other call only looks. Otherwise each
    event of each turn would wait for it, one after the other, and the answers with them.
    """

    def __init__(self, path: Path, open_file: Callable[[], TokenLogFile], name: str) -> None:
        self._path = path
        self._open_file = open_file
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._file: TokenLogFile | None = None
        self._locked = False
        self._closed = False

    async def run(self, operation: Callable[[TokenLogFile], _Result]) -> _Result:
        if self._closed:
            raise rules.closed(self._path)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._call, operation)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._executor, self._drop)
            self._executor.shutdown()

    def _call(self, operation: Callable[[TokenLogFile], _Result]) -> _Result:
        try:
            self._file = self._file or self._open_file()
            self._file.wait_at_most(0 if self._locked else token_log_file.BUSY_SECONDS)
            result = operation(self._file)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            self._locked = is_locked(error)
            do = way_out(error, self._path, meanwhile=_MEANWHILE, damaged=_DAMAGED)
            raise TokenLogUnavailable(f"records.token_log: {self._path} cannot be used: {error}. {do}") from error
        self._locked = False
        return result

    def _drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
