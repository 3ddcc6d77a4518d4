"""A candidate while its tokens are made: what the token log may do to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from activities.sampling import CandidateSampler
from dialogue.faults import TokenLogFenced
from dialogue.messages import TurnKey
from dialogue.steps import GenerateAnswer
from model_runtime.protocol import GenerationRequest, Sampling, TokenEvent
from records.data_keys import DataKeys
from records.database import connect_database, migrate
from records.tenant_keys import LocalKeys
from records.token_log import TokenLog
from records.token_log_rules import pack_ids
from records.token_log_sqlite import SqliteTokenLog
from tests.support.token_log_store import Chunks, TokenLogStore

TURN = TurnKey(conversation="conv-1", turn=1, tenant="default")
IDS = (5, 6, 7, 8)


class Words:
    """A detokenizer to which each id is a word."""

    def detokenizer(self) -> Words:
        return self

    def feed(self, ids: Any) -> str:
        return "".join(f"{id_} " for id_ in ids)

    def flush(self) -> str:
        return ""


class OneByOne:
    """An engine that makes a token at a time; ``before_the_third`` happens to the site meanwhile. ``busy``: its row."""

    def __init__(self, before_the_third: Callable[[], Awaitable[object]]) -> None:
        self._before_the_third = before_the_third
        self.busy = False

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[TokenEvent, None]:
        self.busy = True
        try:
            for start, id_ in enumerate(IDS):
                if start == 2:
                    await self._before_the_third()
                logprobs = (-float(start),) if request.sampling.logprobs else None
                finish = "stop" if start == len(IDS) - 1 else None
                if start >= len(request.prefix_ids):
                    yield TokenEvent(request.id, start, (id_,), finish, logprobs=logprobs)
        finally:
            self.busy = False


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[TokenLog]:
    log = SqliteTokenLog(tmp_path / "log.db")
    yield log
    await log.close()


def sampler_on(log: TokenLog, *, logprobs: bool = False) -> CandidateSampler:
    request = GenerateAnswer(
        turn=TURN, try_number=1, question="Why?", language="en", temperature=0, top_p=1, max_new_tokens=10, seed=1,
        model="m", model_digest="d",
    )  # fmt: skip
    return CandidateSampler(request, 0, 1, Sampling(logprobs=logprobs), Words(), log, show=True)  # type: ignore[arg-type]


async def test_a_log_that_forgot_costs_the_stream_and_not_the_answer(log: TokenLog) -> None:
    """As a Redis that was restarted may: the answer is finished, and nothing of its end is logged."""
    sampler = sampler_on(log)

    async def forget() -> None:
        assert await log.tokens(TURN.stream, 1, 0) == IDS[:2]
        assert await log.trim(-10) == 1

    await sampler.run(OneByOne(forget), (1,), lambda: 0.0)  # type: ignore[arg-type]
    assert tuple(sampler.ids) == IDS
    assert sampler.reader.text("answer") == "5 6 7 8"
    assert sampler.finish == "stop"
    assert await log.tokens(TURN.stream, 1, 0) == ()


async def test_a_log_that_fell_behind_is_not_written_to(log: TokenLog) -> None:
    """Where it lost the last tokens alone, those that follow would leave a gap."""
    sampler = sampler_on(log)

    async def lose_the_last() -> None:
        await log.trim(-10)
        await log.open_attempt(TURN.stream, 1, 0, 1)
        await log.append_tokens(TURN.stream, 1, 0, 1, 0, IDS[:1], [("token", "5 ")])

    await sampler.run(OneByOne(lose_the_last), (1,), lambda: 0.0)  # type: ignore[arg-type]
    assert tuple(sampler.ids) == IDS
    assert await log.tokens(TURN.stream, 1, 0) == IDS[:1]


async def test_how_likely_each_token_was_stands_beside_it(log: TokenLog) -> None:
    """Those that an earlier attempt made are known by their ids alone."""
    await log.open_attempt(TURN.stream, 1, 0, 1)
    await log.append_tokens(TURN.stream, 1, 0, 1, 0, IDS[:1], [("token", "5 ")])
    sampler = sampler_on(log, logprobs=True)

    async def nothing() -> None: ...

    await sampler.run(OneByOne(nothing), (1,), lambda: 0.0)  # type: ignore[arg-type]
    assert (tuple(sampler.ids), sampler.logprobs) == (IDS, [None, -1.0, -2.0, -3.0])


@pytest.mark.parametrize(
    "change",
    [
        lambda found: [(pack_ids([66, 67]), b"66 67 ")],
        lambda found: found[::-1],
        lambda found: found[1:],
    ],
    ids=["in-clear", "moved", "dropped"],
)
async def test_an_answer_never_begins_with_what_was_put_into_the_log(
    tmp_path: Path, change: Callable[[Chunks], Chunks]
) -> None:
    """By somebody without a key, while its worker died: it costs the stream, and the answer begins anew."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    keys = DataKeys(connect_database(url, pooled=False), LocalKeys(tmp_path / "site.keys", make=True))
    log = SqliteTokenLog(tmp_path / "log.db", keys=keys)
    await log.open_attempt(TURN.stream, 1, 0, 1)
    for offset, id_ in enumerate(IDS[:2]):
        await log.append_tokens(TURN.stream, 1, 0, 1, offset, [id_], [("token", f"{id_} ")])
    store = TokenLogStore(str(tmp_path / "log.db"), TURN.stream)
    store.chunks = change(store.chunks)
    sampler = sampler_on(log)

    async def nothing() -> None: ...

    await sampler.run(OneByOne(nothing), (1,), lambda: 0.0)  # type: ignore[arg-type]
    assert (tuple(sampler.ids), sampler.resumed_at) == (IDS, 0)
    assert sampler.reader.text("answer") == "5 6 7 8"
    await log.close()


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lambda log: log.open_attempt(TURN.stream, 1, 0, 2), "the attempt opened last is 2"),
        (lambda log: log.publish(TURN.stream, "final", {}), "its final event is written"),
    ],
    ids=["replaced", "answered"],
)
async def test_whoever_is_fenced_stops(log: TokenLog, happens: Callable[[TokenLog], Any], why: str) -> None:
    """A later attempt holds the try, or the turn was answered, as a cancelled one is: nothing more is said, and the
    engine's row is free at once."""
    engine = OneByOne(lambda: happens(log))
    with pytest.raises(TokenLogFenced, match=why):
        await sampler_on(log).run(engine, (1,), lambda: 0.0)  # type: ignore[arg-type]
    assert not engine.busy
