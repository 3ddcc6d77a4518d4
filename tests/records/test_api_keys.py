"""API keys: what is kept of them, when they hold, who can use them."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import InvalidRequest, RecordsUnavailable
from records.api_keys import PREFIX, ApiKeys
from records.database import connect_database, reading
from records.tables import api_keys


@pytest.fixture
def keys(database: AsyncEngine) -> ApiKeys:
    return ApiKeys(database)


async def test_a_key_is_found_by_itself_alone(keys: ApiKeys) -> None:
    """What was made is found, with all that was said of it; neither a part of it nor another secret is."""
    key, made = await keys.create("acme", user="ann", scopes=("review", "chat"), name="till", days=30)
    found = await keys.find(key)
    assert found == made
    assert (found.tenant, found.user, found.scopes, found.name) == ("acme", "ann", ("chat", "review"), "till")
    id_, secret = key.removeprefix(PREFIX).split("_", 1)
    other, _ = await keys.create("acme")
    for wrong in (
        "", PREFIX, id_, secret, f"{PREFIX}{id_}_", f"{key}x", f" {key}", key.upper(),
        f"{PREFIX}{id_}_{other[-43:]}", f"{PREFIX}{'0' * 16}_{secret}", f"{PREFIX}{id_}_{secret[:-1]}é",
    ):  # fmt: skip
        assert await keys.find(wrong) is None, wrong


async def test_no_secret_is_kept(keys: ApiKeys, database: AsyncEngine) -> None:
    """The table has a digest; the secret stands in no column of it, and two keys have nothing in common."""
    key, _ = await keys.create("acme")
    again, _ = await keys.create("acme")
    secret = key.split("_", 2)[2]
    assert len(secret) == 43
    assert secret != again.split("_", 2)[2]
    async with reading(database) as connection:
        held = (await connection.execute(select(api_keys))).all()
    assert secret not in str(held)


async def test_a_revoked_key_is_refused_at_once(keys: ApiKeys, url: str) -> None:
    """Also by another process that knew it a moment ago; revoked again, it keeps its first moment."""
    key, made = await keys.create("acme")
    elsewhere = connect_database(url)
    assert await ApiKeys(elsewhere).find(key) is not None
    first = await keys.revoke(made.id)
    assert first.revoked is not None
    assert await ApiKeys(elsewhere).find(key) is None
    assert (await keys.revoke(made.id)).revoked == first.revoked
    await elsewhere.dispose()


async def test_revoking_what_is_not_there_says_so(keys: ApiKeys) -> None:
    """So that a typing error is not taken for a revoked key."""
    with pytest.raises(InvalidRequest, match=r"^id: there is no key 'nope'\. `parley keys list`"):
        await keys.revoke("nope")


async def test_a_key_ends_when_its_days_are_over(keys: ApiKeys) -> None:
    """To the moment."""
    _, made = await keys.create("acme", days=1)
    assert made.expires == made.created + timedelta(days=1)
    assert made.holds(made.expires - timedelta(microseconds=1))
    assert not made.holds(made.expires)
    key, _ = await keys.create("acme", days=1e-9)
    assert await keys.find(key) is None


async def test_keys_are_listed_by_tenant(keys: ApiKeys) -> None:
    """Oldest first; revoked ones stay in the list."""
    first = (await keys.create("acme"))[1]
    second = (await keys.create("other"))[1]
    third = (await keys.create("acme"))[1]
    await keys.revoke(first.id)
    assert [each.id for each in await keys.known()] == [first.id, second.id, third.id]
    assert [each.id for each in await keys.known("acme")] == [first.id, third.id]
    assert (await keys.known("acme"))[0].revoked <= datetime.now(UTC)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scopes": ("chat", "everything")}, "scope: there is no scope 'everything'; there are chat, review"),
        ({"scopes": ()}, "scope: give at least one"),
        ({"days": 0}, "expires: must be more than 0"),
        ({"days": 1e9}, "expires: must be more than 0 and at most"),
        ({"name": "x" * 201}, "name: has 201 characters"),
    ],
)
async def test_what_makes_no_key_is_refused(keys: ApiKeys, given: dict, said: str) -> None:
    """With the field, what is wrong and what there is."""
    with pytest.raises(InvalidRequest, match=said):
        await keys.create("acme", **given)
    assert await keys.known() == []


async def test_a_database_without_the_table_says_the_way_out(tmp_path) -> None:
    """A gateway that is up before the first worker."""
    sqlite3.connect(tmp_path / "records.db").close()
    engine = connect_database(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    with pytest.raises(RecordsUnavailable, match="they make the database's tables"):
        await ApiKeys(engine).find(f"{PREFIX}{'0' * 16}_{'a' * 43}")
    await engine.dispose()
