"""The token log under encryption, on both back ends: what is stored, what comes back, and for whom."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from dialogue.faults import KeyMissing, SealBroken, TokenLogUnavailable
from records.data_keys import DataKeys
from records.database import connect_database, migrate
from records.seal import place as place_of
from records.seal import seal
from records.tenant_keys import LocalKeys
from records.token_log import TokenLog
from records.token_log_rules import pack_ids
from tests.records.conftest import OpenLog
from tests.support.token_log_store import Chunks, TokenLogStore

STREAM = "conv-1/0001"


@pytest.fixture
async def keys(tmp_path: Path) -> DataKeys:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    await migrate(url)
    found = DataKeys(connect_database(url, pooled=False), LocalKeys(tmp_path / "site.keys", make=True))
    await found.bind("conv-1", "acme", "ann")
    return found


@pytest.fixture
def log(open_log: OpenLog, keys: DataKeys) -> TokenLog:
    return open_log(keys=keys)


def on_disk(place: str) -> bytes:
    """All that is stored."""
    if "://" not in place:
        folder = Path(place).parent
        return b"".join(path.read_bytes() for path in folder.glob(f"{Path(place).name}*"))
    with Redis.from_url(place) as redis:
        return b"".join(redis.dump(key) for key in redis.keys("parley:*"))  # type: ignore[misc]


async def test_a_turn_reads_as_it_was_written(log: TokenLog, open_log: OpenLog, keys: DataKeys, place: str) -> None:
    """By its writer and by another process; nothing of it stands in the log, and no token either."""
    ids = [7_777_001, 7_777_002, 7_777_003]
    await log.publish(STREAM, "accepted", {"text": "zebra 斑马 \ud800"}, key="accepted")
    assert await log.publish(STREAM, "accepted", {"text": "zebra"}, key="accepted") == 1
    await log.open_attempt(STREAM, 1, 0, 1)
    await log.append_tokens(STREAM, 1, 0, 1, 0, ids[:2], [("reasoning", "They ask"), ("token", "zebra ")])
    await log.append_tokens(STREAM, 1, 0, 1, 2, ids[2:], [])
    await log.append_tokens(STREAM, 1, 0, 1, 3, [], [("token", "三十天")])
    await log.publish(STREAM, "final", {"answer": "zebra 三十天"}, key="final")
    for reader in (log, open_log(keys=keys)):
        events = [(event.kind, event.data) async for event in reader.follow(STREAM)]
        assert events == [
            ("accepted", {"text": "zebra 斑马 \ud800"}),
            ("reasoning", {"text": "They ask"}),
            ("token", {"text": "zebra "}),
            ("token", {"text": "三十天"}),
            ("final", {"answer": "zebra 三十天"}),
        ]
        assert events == [(event.kind, event.data) for event in await reader.read(STREAM)]
        assert await reader.tokens(STREAM, 1, 0) == tuple(ids)
    stored = on_disk(place)
    assert b"zebra" not in stored
    assert "三十天".encode() not in stored
    assert not any(number.to_bytes(4, "little") in stored for number in ids)


async def test_an_attempt_goes_on_where_the_last_one_was(log: TokenLog, open_log: OpenLog, keys: DataKeys) -> None:
    """Its tokens and text come out of the seal, also where the conversation became another's too in between."""
    await log.open_attempt(STREAM, 1, 0, 1)
    await log.append_tokens(STREAM, 1, 0, 1, 0, [1, 2], [("token", "thirty ")])
    await keys.bind("conv-1", "acme", "bob")
    other = open_log(keys=keys)
    resumed = await other.open_attempt(STREAM, 1, 0, 2)
    assert (resumed.token_ids, resumed.text) == ((1, 2), "thirty ")
    await other.append_tokens(STREAM, 1, 0, 2, 2, [3], [("token", "days")])
    assert (await other.open_attempt(STREAM, 1, 0, 3)).text == "thirty days"


async def test_a_forgotten_users_stream_opens_no_more(log: TokenLog, keys: DataKeys) -> None:
    """A typed fault; what a stranger's conversation holds is still read."""
    await log.publish(STREAM, "accepted", {"text": "one"})
    await log.publish("conv-2/0001", "accepted", {"text": "two"})
    await keys.destroy("acme", "ann")
    with pytest.raises(KeyMissing):
        await log.read(STREAM)
    assert [event.data for event in await log.read("conv-2/0001")] == [{"text": "two"}]


# somebody who can write to the store -------------------------------------------------------------


@pytest.fixture
def store(place: str) -> TokenLogStore:
    return TokenLogStore(place, STREAM)


@pytest.fixture
async def written(log: TokenLog) -> TokenLog:
    """An event, and three batches of two tokens."""
    await log.publish(STREAM, "accepted", {"text": "zebra"})
    await log.open_attempt(STREAM, 1, 0, 1)
    for offset in (0, 2, 4):
        await log.append_tokens(STREAM, 1, 0, 1, offset, [offset, offset + 1], [("token", f"{offset} ")])
    return log


def clear(*ids: int) -> tuple[bytes, bytes]:
    return pack_ids(ids), b"in clear"


@pytest.mark.parametrize(
    "change",
    [
        lambda found: [clear(66, 67)],
        lambda found: [clear(0, 1), *found[1:]],
        lambda found: [*found, clear(66)],
        lambda found: [(found[0][0], b"in clear"), *found[1:]],
        lambda found: found[1:],
        lambda found: [found[0], found[2]],
        lambda found: [found[0], found[0], *found[1:]],
        lambda found: [found[1], found[0], found[2]],
        lambda found: [found[0], (found[1][1], found[1][0]), found[2]],
        lambda found: [(found[0][0][:-1], found[0][1]), *found[1:]],
    ],
    ids=["all-clear", "first-clear", "last-clear", "text-clear", "first-dropped", "dropped", "doubled", "moved",
         "ids-for-text", "cut"],
)  # fmt: skip
async def test_batches_that_were_not_written_so_are_not_taken(
    written: TokenLog, store: TokenLogStore, change: Callable[[Chunks], Chunks]
) -> None:
    """In clear, left out, doubled, moved or changed: no attempt begins its answer with them."""
    store.chunks = change(store.chunks)
    with pytest.raises(SealBroken, match=r"Put back what was written|in clear, and this site encrypts"):
        await written.open_attempt(STREAM, 1, 0, 2)
    with pytest.raises(SealBroken):
        await written.tokens(STREAM, 1, 0)


async def test_a_batch_of_text_alone_is_not_taken_twice(written: TokenLog, store: TokenLogStore) -> None:
    """It stands at the offset of the one behind it."""
    await written.append_tokens(STREAM, 1, 0, 1, 6, [], [("token", "end")])
    assert (await written.open_attempt(STREAM, 1, 0, 2)).text == "0 2 4 end"
    store.chunks = [*store.chunks, store.chunks[-1]]
    with pytest.raises(SealBroken, match="twice"):
        await written.open_attempt(STREAM, 1, 0, 3)


@pytest.mark.parametrize(
    ("data", "fault", "why"),
    [
        ({"text": "in clear"}, SealBroken, "in clear, and this site encrypts"),
        ({"sealed": "no Base64!", "key": "k"}, KeyMissing, "key k: was never in this database"),
        ("no object", TokenLogUnavailable, "is damaged"),
        ([], TokenLogUnavailable, "is damaged"),
    ],
)
@pytest.mark.parametrize("number", [1, 3])
async def test_events_that_were_not_written_so_are_not_shown(
    written: TokenLog, store: TokenLogStore, number: int, data: object, fault: type[Exception], why: str
) -> None:
    """First or later; a stranger's stream beside it goes on."""
    store.set_event(number, json.dumps(data))
    for reading in (written.read(STREAM, number - 1), anext(written.follow(STREAM, number - 1))):
        with pytest.raises(fault, match=why):
            await reading
    await written.publish("conv-2/0001", "final", {"text": "two"})
    assert [event.data async for event in written.follow("conv-2/0001")] == [{"text": "two"}]


@pytest.mark.parametrize("cut", [lambda text: text[:-3] + "*", lambda text: "é" + text, lambda text: None])
async def test_an_event_whose_base64_was_broken_is_a_broken_seal(
    written: TokenLog, store: TokenLogStore, cut: Callable[[str], str | None]
) -> None:
    """And no error of the decoder's."""
    found = json.loads(store.event(1))
    store.set_event(1, json.dumps({**found, "sealed": cut(found["sealed"])}))
    with pytest.raises(SealBroken):
        await written.read(STREAM)


async def test_nonsense_between_batches_is_a_damaged_log(open_log: OpenLog, store: TokenLogStore) -> None:
    """In clear too: a typed fault, which costs the stream."""
    log = open_log()
    await log.open_attempt(STREAM, 1, 0, 1)
    await log.append_tokens(STREAM, 1, 0, 1, 0, [1], [("token", "one")])
    for chunk in [(b"\1\2\3", b""), (b"", b"\xff"), ("text", b"")]:
        store.chunks = [chunk]  # type: ignore[list-item]
        with pytest.raises(TokenLogUnavailable, match="is damaged"):
            await log.open_attempt(STREAM, 1, 0, 1)


async def test_a_stream_from_before_the_site_encrypted_is_over(open_log: OpenLog, keys: DataKeys) -> None:
    """Nobody can tell it from one that was put there: its reader is told, and its answer begins anew."""
    plain, sealed = open_log(), open_log(keys=keys)
    await plain.publish(STREAM, "accepted", {"text": "one"})
    await plain.open_attempt(STREAM, 1, 0, 1)
    await plain.append_tokens(STREAM, 1, 0, 1, 0, [1], [("token", "two")])
    with pytest.raises(SealBroken, match="in clear"):
        await sealed.open_attempt(STREAM, 1, 0, 2)
    await sealed.publish(STREAM, "final", {"text": "three"})
    with pytest.raises(SealBroken, match="in clear"):
        await sealed.read(STREAM)
    assert [event.data for event in await sealed.read(STREAM, after=2)] == [{"text": "three"}]


async def test_a_process_without_keys_takes_no_ciphertext(written: TokenLog, open_log: OpenLog) -> None:
    """It would show it, or begin an answer with it."""
    plain = open_log()
    with pytest.raises(KeyMissing, match=r"Set encryption\.provider"):
        await plain.read(STREAM)
    with pytest.raises(KeyMissing, match=r"Set encryption\.provider"):
        await plain.open_attempt(STREAM, 1, 0, 2)


async def test_what_the_version_before_wrote_is_gone_on_with(
    log: TokenLog, store: TokenLogStore, keys: DataKeys
) -> None:
    """Its batches are bound to their try alone; none of them stands behind one of today, which names its offset."""
    key = await keys.of_workflow("conv-1")
    where = place_of("tokens", STREAM, 1, 0)

    def as_before(text: bytes) -> bytes:
        return b"\xffSEALED\x01" + key.id.encode() + seal(key, text, where)

    await log.open_attempt(STREAM, 1, 0, 1)
    old = [(as_before(pack_ids([each])), as_before(b"old ")) for each in (7, 8)]
    for offset in (0, 1):  # counted; what they hold is put in place below
        await log.append_tokens(STREAM, 1, 0, 1, offset, [1], [])
    store.chunks = old
    await log.append_tokens(STREAM, 1, 0, 1, 2, [9], [("token", "new")])
    resumed = await log.open_attempt(STREAM, 1, 0, 2)
    assert (resumed.token_ids, resumed.text) == ((7, 8, 9), "old old new")
    (*_, new) = store.chunks
    for wrong in ([new, *old], [old[0], new], [*old, new, old[0]]):
        store.chunks = wrong
        with pytest.raises(SealBroken):
            await log.open_attempt(STREAM, 1, 0, 2)


async def test_the_version_before_takes_a_batch_of_today_for_a_broken_seal(
    written: TokenLog, store: TokenLogStore
) -> None:
    """While processes of both run: never for token ids, and never for its own form."""
    for ids, text in store.chunks:
        for stored in (ids, text):
            assert stored.startswith(b"\xffSEALED\x01")
            assert stored[8 + 16 :][:1] != b"\x01"
    assert base64.b64decode(json.loads(store.event(1))["sealed"])[:1] == b"\x01"  # events stayed as they were
