"""A gated turn is followed on several gateways: each shows the same of it, and nothing that is forbidden."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialogue.turn import Reply
from gateway.events import TurnEvent
from gateway.turn_streams import Place, TurnStreams
from policy.policy import Policy
from records.token_log import TokenLog
from records.token_log_sqlite import SqliteTokenLog
from settings.schema import TenantSettings

POLICY = Policy.build({}, Path())
NUMBER = "13987654321"
FORBIDDEN = [NUMBER, "139 8765 4321", "+86 139-8765-4321", "a@example.com"]
TEXTS = st.lists(st.sampled_from([*FORBIDDEN, "Call", "4", "x"]), min_size=1, max_size=5).map(" or ".join)
GATED = TenantSettings(stream="gated")


def streams_over(log: TokenLog) -> TurnStreams:
    """Those of one gateway."""
    return TurnStreams(log, {GATED.policy: POLICY}, lambda *_: "")


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Sequence[TokenLog]]:
    """One file as the processes of two gateways have it open."""
    logs = [SqliteTokenLog(tmp_path / "tokens.db") for _ in range(2)]
    yield logs
    for log in logs:
        await log.close()


class _Turn:
    """A turn as its steps write it."""

    def __init__(self, log: TokenLog) -> None:
        self.place = Place(f"conv-{uuid.uuid4().hex}", "m-1", 1)
        self._log = log
        self._offset = 0

    @property
    def stream(self) -> str:
        return f"{self.place.conversation}/0001"

    async def write(self, kind: str, piece: str) -> None:
        if not self._offset:
            await self._log.open_attempt(self.stream, 1, 0, 1)
        await self._log.append_tokens(self.stream, 1, 0, 1, self._offset, [self._offset], [(kind, piece)])
        self._offset += 1

    async def end(self) -> None:
        await self._log.publish(self.stream, "step", {"step": "review_answer", "attempt": 1})
        await self._log.publish(self.stream, "final", {"verdict": "pass", "answer": "", "reasoning": ""})


async def read(streams: TurnStreams, place: Place, *, after: int = 0, count: int | None = None) -> list[TurnEvent]:
    """The events behind ``after``, or the first ``count`` of them; then the reader leaves."""
    found: list[TurnEvent] = []
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(20), aclosing(streams.follow(place, "default", GATED, reply, after)) as events:
        if count != 0:
            async for event in events:
                found.append(event)
                if len(found) == count:
                    break
    return found


def shown(events: Sequence[TurnEvent], kind: str) -> str:
    return "".join(event.data["text"] for event in events if event.kind == kind)


def in_pieces(text: str, cuts: Sequence[int]) -> list[str]:
    at = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(at)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    thought=TEXTS,
    answer=TEXTS,
    cuts=st.lists(st.integers(0, 80), max_size=8),
    reads=st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
async def test_a_gated_stream_is_cut_and_resumed_anywhere(
    logs: Sequence[TokenLog], thought: str, answer: str, cuts: list[int], reads: list[int]
) -> None:
    """On the other gateway each time, whatever it saw before: the same events, and no forbidden text in them."""
    gateways = [streams_over(log) for log in logs]
    turn = _Turn(logs[0])
    got: list[TurnEvent] = []
    pieces = [("reasoning", each) for each in in_pieces(thought, cuts)]
    pieces += [("token", each) for each in in_pieces(answer, cuts)]
    for kind, piece in pieces[: len(pieces) // 2]:
        await turn.write(kind, piece)
    first = asyncio.create_task(read(gateways[0], turn.place, count=1))  # while the rest of it is written
    for kind, piece in pieces[len(pieces) // 2 :]:
        await turn.write(kind, piece)
    await turn.end()
    got += await first
    for index, count in enumerate(reads):
        if got[-1].kind != "final":
            got += await read(gateways[(index + 1) % 2], turn.place, after=got[-1].id, count=count)
    if got[-1].kind != "final":
        got += await read(gateways[0], turn.place, after=got[-1].id)
    assert got == await read(gateways[1], turn.place)
    for kind, text in (("reasoning", thought), ("token", answer)):
        assert shown(got, kind) == POLICY.cover(text)
        assert NUMBER not in re.sub(r"\D", "", shown(got, kind))
        assert "example.com" not in shown(got, kind)
