"""The token log: an append-only log per turn, written by whoever works on the turn and read from an id.

A *stream* is one turn's log (:attr:`dialogue.messages.TurnKey.stream`). Its events are numbered 1, 2, 3 … without a
gap, so a reader who knows the last id it saw resumes there, on any transport. Beside the events the log holds the
token ids of each try, from which the next attempt goes on when a worker died.

Two fences keep a zombie (a worker that was replaced and does not know it) from writing: the attempt, which a later
:meth:`TokenLog.open_attempt` raises, and the offset, which must be the number of tokens already there. A try is over
as soon as a higher one was opened. Nothing at all is written behind a stream's ``final`` event.

Back ends: :class:`records.token_log_sqlite.SqliteTokenLog` and :class:`records.token_log_redis.RedisTokenLog`. Each
passes ``tests/records/test_token_log.py``; :func:`records.open_token_log.open_token_log` opens the one in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ENDS", "EVENT_KINDS", "Resume", "StreamEvent", "TokenLog"]

EVENT_KINDS = ("accepted", "step", "reasoning", "token", "citation", "retry", "retract", "final", "error")
"""``reasoning`` and ``token`` hold ``{"text": …}`` and are written by ``append_tokens`` alone."""

ENDS = ("final", "error")
"""The kinds after which a reader need not wait for more."""

DEFAULT_MAX_STREAM_BYTES = 8 * 1024 * 1024
"""Of one turn's log, events and token ids together: some 500,000 tokens."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event. ``id`` grows by one per stream; ``at`` is seconds since the epoch."""

    id: int
    kind: str
    data: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Resume:
    """What earlier attempts of a try wrote: their token ids, their text, and the stream's last event id."""

    token_ids: tuple[int, ...]
    text: str
    events: int


class TokenLog(Protocol):
    """Every method may raise TokenLogUnavailable: full, locked, damaged, out of reach, or closed; where it is sealed,
    KeyMissing (its user was forgotten), KeysUnavailable and SealBroken (it is not as it was written) too."""

    async def publish(self, stream: str, kind: str, data: Mapping[str, Any], *, key: str | None = None) -> int:
        """Appends one event and returns its id. Under a ``key`` once: later ones write nothing, get the first id.

        Raises TokenLogFenced behind the ``final`` event: a zombie's step is no news any more.
        """
        ...

    async def open_attempt(self, stream: str, try_number: int, candidate: int, attempt: int) -> Resume:
        """Takes over a try: from now on every lower attempt of it, and every lower try, is fenced.

        Opening the same attempt again is allowed; the offset then decides between the two.
        Raises TokenLogFenced when a higher attempt or try was opened already, or the stream has ended.
        """
        ...

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
        """Appends token ids and the text that came of them, both or neither; returns the stream's last event id.

        ``pieces`` are (``reasoning`` or ``token``, text) in order; ``expected_offset`` is the number of this
        candidate's tokens that are in the log already. ``show`` says whether readers get events of the pieces;
        ``None``: those of candidate 0. Raises TokenLogFenced when the attempt was not opened, or is no longer the
        newest, or the offset is another; its detail ``behind`` is true where the log holds less than the writer
        says: then nobody else wrote, but the log lost something.
        """
        ...

    async def read(self, stream: str, after: int = 0, limit: int = 1000) -> list[StreamEvent]:
        """The events with an id above ``after``, in order; none for a stream that is not there."""
        ...

    def follow(
        self, stream: str, after: int = 0, *, until_kinds: Sequence[str] = ENDS
    ) -> AsyncGenerator[StreamEvent, None]:
        """Every event above ``after``, as it is written by any process, up to and with the first of those kinds.

        Whoever stops before that closes the generator (``contextlib.aclosing``).
        """
        ...

    async def tokens(self, stream: str, try_number: int, candidate: int) -> tuple[int, ...]:
        """The token ids of one candidate of one try, in order."""
        ...

    async def trim(self, older_than: float) -> int:
        """Removes the streams that were not written to for so many seconds; returns how many those were."""
        ...

    async def close(self) -> None:
        """Gives back threads and connections; followers get TokenLogUnavailable."""
        ...
