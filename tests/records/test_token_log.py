"""What every back end of the token log does alike. A new one is added to the fixture ``place``, not here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from dialogue.faults import TokenLogFenced, TokenLogUnavailable
from records.token_log import EVENT_KINDS, Resume, StreamEvent, TokenLog
from tests.records.conftest import OpenLog

STREAM = "conv-1/0001"


async def write(log: TokenLog, offset: int, text: str, *, try_number: int = 1, attempt: int = 1) -> int:
    """Appends one token, which is its own offset."""
    return await log.append_tokens(STREAM, try_number, 0, attempt, offset, [offset], [("token", text)])


async def texts(log: TokenLog, stream: str = STREAM) -> list[tuple[str, str]]:
    return [(event.kind, event.data["text"]) for event in await log.read(stream) if "text" in event.data]


async def until_end(events: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
    return [event async for event in events]


# events


async def test_ids_grow_by_one_per_stream(log: TokenLog) -> None:
    """Each stream counts 1, 2, 3 … for itself."""
    assert [await log.publish(STREAM, "step", {"n": n}) for n in range(3)] == [1, 2, 3]
    assert await log.publish("conv-1/0002", "accepted", {}) == 1
    assert [event.id for event in await log.read(STREAM)] == [1, 2, 3]


async def test_an_event_comes_back_as_it_was_published(open_log: OpenLog) -> None:
    """Kind, data in both languages, and the moment of writing."""
    log = open_log(clock=lambda: 1234.5)
    for kind in EVENT_KINDS:
        await log.publish(kind, kind, {"note": "好的 😀\0\ud800", "nested": {"n": [1, 2.5, None]}})
        (event,) = await log.read(kind)
        assert (event.kind, event.at) == (kind, 1234.5)
        assert event.data == {"note": "好的 😀\0\ud800", "nested": {"n": [1, 2.5, None]}}


async def test_an_unknown_kind_is_refused(log: TokenLog) -> None:
    """A kind no reader knows is a mistake of the writer, named with those that are known."""
    with pytest.raises(ValueError, match="'tokens' is none of accepted, step"):
        await log.publish(STREAM, "tokens", {})
    assert await log.read(STREAM) == []


async def test_a_key_is_published_once(open_log: OpenLog) -> None:
    """However often, at once and by whomever a key is published, there is one event, and all get its id."""
    one, other = open_log(), open_log()
    ids = await asyncio.gather(
        *(log.publish(STREAM, "final", {"by": number}, key="final") for number, log in enumerate([one, other] * 10))
    )
    assert set(ids) == {1}
    assert len(await one.read(STREAM)) == 1
    assert await one.publish("conv-1/0002", "final", {}, key="final") == 1


async def test_reading_goes_on_after_an_id(log: TokenLog) -> None:
    """``after`` is the last id seen; ``limit`` bounds one answer; an unknown stream has nothing."""
    for _ in range(5):
        await log.publish(STREAM, "step", {})
    assert [event.id for event in await log.read(STREAM, after=2)] == [3, 4, 5]
    assert [event.id for event in await log.read(STREAM, after=1, limit=2)] == [2, 3]
    assert await log.read("conv-9/0001") == []


async def test_concurrent_writers_leave_no_gap(open_log: OpenLog) -> None:
    """Many writers on several handles: each event has an id of its own, and none is missing."""
    logs = [open_log() for _ in range(3)]
    ids = await asyncio.gather(*(log.publish(STREAM, "step", {}) for log in logs * 30))
    assert sorted(ids) == list(range(1, 91))


# tokens and fences


async def test_a_new_attempt_goes_on_where_the_last_one_was(open_log: OpenLog) -> None:
    """The tokens and the text that earlier attempts wrote come back, and the new attempt appends behind them."""
    first, second = open_log(), open_log()
    assert await first.open_attempt(STREAM, 1, 0, 1) == Resume((), "", 0)
    await first.append_tokens(STREAM, 1, 0, 1, 0, [5, 7], [("reasoning", "想"), ("token", "Yes")])
    await first.append_tokens(STREAM, 1, 0, 1, 2, [2**31], [])
    assert await second.open_attempt(STREAM, 1, 0, 2) == Resume((5, 7, 2**31), "想Yes", 2)
    assert await second.append_tokens(STREAM, 1, 0, 2, 3, [9], [("token", ", sir")]) == 3
    assert await second.tokens(STREAM, 1, 0) == (5, 7, 2**31, 9)
    assert await texts(second) == [("reasoning", "想"), ("token", "Yes"), ("token", ", sir")]


async def test_a_zombie_is_fenced(open_log: OpenLog) -> None:
    """An attempt that was replaced writes nothing any more, with whatever offset, and cannot open again."""
    zombie, living = open_log(), open_log()
    await zombie.open_attempt(STREAM, 1, 0, 1)
    await write(zombie, 0, "a")
    await living.open_attempt(STREAM, 1, 0, 2)
    await write(living, 1, "b", attempt=2)
    for offset in (1, 2):
        with pytest.raises(TokenLogFenced, match="the attempt opened last is 2") as fenced:
            await write(zombie, offset, "zombie")
        assert not fenced.value.details["behind"]
    with pytest.raises(TokenLogFenced, match="attempt 1 of try 1 was replaced by 2"):
        await zombie.open_attempt(STREAM, 1, 0, 1)
    assert await living.tokens(STREAM, 1, 0) == (0, 1)
    assert await texts(living) == [("token", "a"), ("token", "b")]


async def test_a_wrong_offset_is_fenced(log: TokenLog) -> None:
    """Tokens are appended exactly behind those that are there; a writer ahead of the log is told that it lost some."""
    await log.open_attempt(STREAM, 1, 0, 1)
    await write(log, 0, "a")
    for offset, behind in ((0, False), (2, True)):
        with pytest.raises(TokenLogFenced, match=f"writes at token {offset}, but the log holds 1") as fenced:
            await write(log, offset, "x")
        assert fenced.value.details["behind"] is behind
    assert await log.tokens(STREAM, 1, 0) == (0,)


async def test_of_two_that_hold_one_attempt_one_writes(open_log: OpenLog) -> None:
    """Of several that write the same offset at once exactly one does; the others are fenced."""
    logs = [open_log() for _ in range(4)]
    for log in logs:
        await log.open_attempt(STREAM, 1, 0, 1)
    outcomes = await asyncio.gather(*(write(log, 0, "a") for log in logs), return_exceptions=True)
    assert sum(isinstance(outcome, TokenLogFenced) for outcome in outcomes) == 3
    assert await texts(logs[0]) == [("token", "a")]


async def test_a_higher_try_ends_the_lower_ones(log: TokenLog) -> None:
    """After try 2 was opened, try 1 neither writes nor opens, in any candidate and attempt."""
    await log.open_attempt(STREAM, 1, 0, 1)
    await write(log, 0, "a")
    assert (await log.open_attempt(STREAM, 2, 0, 1)).token_ids == ()
    with pytest.raises(TokenLogFenced, match="try 1 is over, try 2 was opened"):
        await write(log, 1, "b")
    with pytest.raises(TokenLogFenced, match="try 1 is over"):
        await log.open_attempt(STREAM, 1, 1, 9)
    await write(log, 0, "c", try_number=2)
    assert (await log.tokens(STREAM, 1, 0), await log.tokens(STREAM, 2, 0)) == ((0,), (0,))


async def test_nothing_is_written_behind_the_final_event(log: TokenLog) -> None:
    """Once a turn is answered, its tries are over, and a step that is attempted again is no news."""
    await log.open_attempt(STREAM, 1, 0, 1)
    assert await log.publish(STREAM, "final", {}, key="final") == 1
    with pytest.raises(TokenLogFenced, match="its final event is written"):
        await write(log, 0, "a")
    with pytest.raises(TokenLogFenced, match="its final event is written"):
        await log.publish(STREAM, "step", {"step": "return_answer", "attempt": 2}, key="return_answer:6:2")
    assert await log.publish(STREAM, "final", {}, key="final") == 1
    with pytest.raises(TokenLogFenced, match="its final event is written"):
        await log.open_attempt(STREAM, 1, 0, 2)
    assert [event.kind for event in await log.read(STREAM)] == ["final"]


async def test_an_attempt_that_was_not_opened_writes_nothing(log: TokenLog) -> None:
    """Neither in a new stream nor beyond the attempt that was opened; one that was has been lost by the log."""
    with pytest.raises(TokenLogFenced) as fenced:
        await write(log, 0, "a")
    assert fenced.value.details["behind"]
    await log.open_attempt(STREAM, 1, 0, 1)
    with pytest.raises(TokenLogFenced) as fenced:
        await write(log, 0, "a", attempt=2)
    assert fenced.value.details["behind"]


async def test_candidates_are_apart_and_readers_see_the_first(log: TokenLog) -> None:
    """Every candidate's tokens are kept; events are written of candidate 0, or as ``show`` says."""
    for candidate in range(3):
        await log.open_attempt(STREAM, 1, candidate, 1)
        await log.append_tokens(STREAM, 1, candidate, 1, 0, [candidate], [("token", f"default {candidate}")])
    await log.append_tokens(STREAM, 1, 0, 1, 1, [8], [("token", "hidden")], show=False)
    await log.append_tokens(STREAM, 1, 2, 1, 1, [9], [("token", "shown")], show=True)
    assert [await log.tokens(STREAM, 1, candidate) for candidate in range(3)] == [(0, 8), (1,), (2, 9)]
    assert await texts(log) == [("token", "default 0"), ("token", "shown")]
    assert (await log.open_attempt(STREAM, 1, 1, 2)).text == "default 1"


async def test_neighbouring_pieces_are_one_event(log: TokenLog) -> None:
    """Pieces of one channel that stand together come as one event; empty ones not at all."""
    await log.open_attempt(STREAM, 1, 0, 1)
    pieces = [("reasoning", "a"), ("reasoning", "b"), ("token", ""), ("token", "c"), ("token", "d")]
    assert await log.append_tokens(STREAM, 1, 0, 1, 0, [1, 2, 3], pieces) == 2
    assert await texts(log) == [("reasoning", "ab"), ("token", "cd")]
    assert await log.append_tokens(STREAM, 1, 0, 1, 3, [4], [("token", "")]) == 2


# following


async def test_a_follower_gets_everything_in_order(open_log: OpenLog) -> None:
    """From before the stream is there until its end, from another handle, nothing twice and nothing missing."""
    writer, reader = open_log(), open_log()
    following = asyncio.create_task(until_end(reader.follow(STREAM)))
    await writer.publish(STREAM, "accepted", {})
    await writer.open_attempt(STREAM, 1, 0, 1)
    for offset in range(200):
        await write(writer, offset, f"{offset},")
    await writer.publish(STREAM, "final", {})
    events = await following
    assert [event.id for event in events] == list(range(1, 203))
    assert "".join(event.data.get("text", "") for event in events) == "".join(f"{n}," for n in range(200))
    assert events[-1].kind == "final"


async def test_a_follower_resumes_after_an_id(open_log: OpenLog) -> None:
    """Whoever saw up to an id gets the rest, be the stream ended already or not."""
    writer, reader = open_log(), open_log()
    for _ in range(4):
        await writer.publish(STREAM, "step", {})
    following = asyncio.create_task(until_end(reader.follow(STREAM, 3)))
    await writer.publish(STREAM, "error", {})
    assert [event.id for event in await following] == [4, 5]
    assert [event.id for event in await until_end(reader.follow(STREAM, 2))] == [3, 4, 5]


async def test_a_long_stream_is_followed_in_pieces(log: TokenLog) -> None:
    """More events than one reading holds all come."""
    await asyncio.gather(*(log.publish(STREAM, "step", {}) for _ in range(2100)))
    await log.publish(STREAM, "final", {})
    assert [event.id for event in await until_end(log.follow(STREAM))] == list(range(1, 2102))


async def test_a_follower_stops_at_the_kinds_it_names(log: TokenLog) -> None:
    """``until_kinds`` is the follower's own choice."""
    for kind in ("accepted", "step", "final"):
        await log.publish(STREAM, kind, {})
    assert [event.kind for event in await until_end(log.follow(STREAM, until_kinds=["step"]))] == ["accepted", "step"]


async def test_followers_of_many_streams_each_get_their_own(open_log: OpenLog) -> None:
    """Fifty followers in one process, one of them twice: each gets its stream and no other."""
    writer, reader = open_log(), open_log()
    streams = [f"conv-{number}/0001" for number in range(50)]
    following = [asyncio.create_task(until_end(reader.follow(stream))) for stream in [*streams, streams[0]]]
    await asyncio.gather(*(writer.publish(stream, "step", {"of": stream}) for stream in streams))
    await asyncio.gather(*(writer.publish(stream, "final", {"of": stream}) for stream in streams))
    for stream, events in zip([*streams, streams[0]], await asyncio.gather(*following), strict=True):
        assert [(event.kind, event.data["of"]) for event in events] == [("step", stream), ("final", stream)]


async def test_a_follower_may_leave(log: TokenLog) -> None:
    """Breaking off costs nobody else anything, and the log can be followed again."""
    await log.publish(STREAM, "accepted", {})
    async with aclosing(log.follow(STREAM)) as events:
        async for event in events:
            assert event.id == 1
            break
    waiting = asyncio.create_task(until_end(log.follow(STREAM)))
    left = asyncio.create_task(until_end(log.follow(STREAM)))
    await asyncio.sleep(0)
    left.cancel()
    await log.publish(STREAM, "final", {})
    assert [event.id for event in await waiting] == [1, 2]
    with pytest.raises(asyncio.CancelledError):
        await left


async def test_closing_wakes_followers(log: TokenLog) -> None:
    """A follower of a log that is closed is told so, and so is everybody who uses it afterwards."""
    await log.publish(STREAM, "accepted", {})
    events = log.follow(STREAM)
    assert (await anext(events)).id == 1
    waiting = asyncio.create_task(anext(events))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(TokenLogUnavailable, match="was closed"):
        await waiting
    with pytest.raises(TokenLogUnavailable, match="was closed"):
        await log.publish(STREAM, "final", {})
    await log.close()


# keeping it small


async def test_old_streams_are_trimmed(open_log: OpenLog) -> None:
    """Streams that nobody wrote to for so long go, with all they hold; the others stay."""
    now = 1000.0
    log = open_log(clock=lambda: now)
    for number in range(250):
        await log.publish(f"old-{number}/0001", "final", {})
    await log.open_attempt(STREAM, 1, 0, 1)
    await write(log, 0, "a")
    await log.publish("started-long-ago/0001", "accepted", {})
    now = 2000.0
    await log.publish("started-long-ago/0001", "step", {})
    assert await log.trim(500) == 251
    assert await log.trim(500) == 0
    assert [event.id for event in await log.read("started-long-ago/0001")] == [1, 2]
    assert await log.read("old-0/0001") == []
    assert await log.tokens(STREAM, 1, 0) == ()
    assert await log.publish("old-0/0001", "accepted", {}) == 1


async def test_a_turn_fills_no_disk(open_log: OpenLog) -> None:
    """Beyond its bound a stream takes nothing more, but for its end; other streams are not concerned."""
    log = open_log(max_stream_bytes=2000)
    await log.open_attempt(STREAM, 1, 0, 1)

    async def write_on() -> None:
        for offset in range(1000):
            await write(log, offset, "x")

    with pytest.raises(TokenLogUnavailable, match="holds at most 2000 bytes"):
        await write_on()
    offset = len(await log.tokens(STREAM, 1, 0))
    assert 50 < offset < 1000
    with pytest.raises(TokenLogUnavailable):
        await log.publish(STREAM, "step", {"text": "x" * 100})
    assert await log.publish(STREAM, "final", {"answer": "x" * 5000}) == offset + 1
    assert await log.publish("conv-2/0001", "accepted", {}) == 1
