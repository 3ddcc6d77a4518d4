"""The token log under encryption, on both back ends: what is stored, what comes back, and for whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from dialogue.faults import KeyMissing
from records.data_keys import DataKeys
from records.database import connect_database, migrate
from records.tenant_keys import LocalKeys
from records.token_log import TokenLog
from tests.records.conftest import OpenLog

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


async def test_a_log_in_clear_goes_on_sealed(open_log: OpenLog, keys: DataKeys) -> None:
    """What was written before a site began to encrypt is read as it is."""
    plain, sealed = open_log(), open_log(keys=keys)
    await plain.publish(STREAM, "accepted", {"text": "one"})
    await plain.open_attempt(STREAM, 1, 0, 1)
    await plain.append_tokens(STREAM, 1, 0, 1, 0, [1], [("token", "two")])
    await sealed.append_tokens(STREAM, 1, 0, 1, 1, [2], [("token", "three")])
    assert [event.data["text"] for event in await sealed.read(STREAM)] == ["one", "two", "three"]
    assert (await sealed.open_attempt(STREAM, 1, 0, 2)).text == "twothree"


async def test_a_forgotten_users_stream_opens_no_more(log: TokenLog, keys: DataKeys) -> None:
    """A typed fault; what a stranger's conversation holds is still read."""
    await log.publish(STREAM, "accepted", {"text": "one"})
    await log.publish("conv-2/0001", "accepted", {"text": "two"})
    await keys.destroy("acme", "ann")
    with pytest.raises(KeyMissing):
        await log.read(STREAM)
    assert [event.data for event in await log.read("conv-2/0001")] == [{"text": "two"}]
