"""Data keys: whose they are, whose workflow is whose, and forgetting."""

from __future__ import annotations

import asyncio
import base64
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import InvalidRequest, KeyDestroyed, KeyMissing, SealBroken, SettingsFault, UnknownConversation
from records.audit import AuditLog
from records.data_keys import NOBODY, DataKeys
from records.database import connect_database, migrate, reading, writing
from records.held_keys import destroyed_keys, hold_keys, hold_keys_of
from records.key_owners import KeyOwner, KeyOwners
from records.key_wrapping import KeyWrapping
from records.tables import data_keys, key_users, workflow_keys
from records.tenant_keys import EnvironmentKeys, LocalKeys, Wrapped, open_key_provider
from settings.schema import EncryptionSettings, Settings
from tests.records.rows import a_row


@pytest.fixture
def provider(tmp_path: Path) -> LocalKeys:
    return LocalKeys(tmp_path / "keys" / "site.keys", make=True)


@pytest.fixture
def keys(database: AsyncEngine, provider: LocalKeys) -> DataKeys:
    return DataKeys(database, provider)


def other_process(keys: DataKeys, provider: LocalKeys) -> DataKeys:
    """With its own memory."""
    return DataKeys(keys._engine, provider)


async def test_each_user_of_each_tenant_has_one_key(keys: DataKeys, provider: LocalKeys) -> None:
    """Asked again, asked by another process, asked by many at once: the same."""
    mine = await keys.of_user("acme", "u-1")
    others = [other_process(keys, provider) for _ in range(5)]
    found = await asyncio.gather(*(each.of_user("acme", "u-2") for each in others))
    assert await other_process(keys, provider).of_user("acme", "u-1") == mine
    assert len(set(found)) == 1
    assert len({mine, found[0], await keys.of_user("other", "u-1")}) == 3


async def test_a_key_is_nowhere_in_clear(keys: DataKeys, database: AsyncEngine) -> None:
    """Neither in its table nor in what a log line would show of it."""
    key = await keys.of_user("acme", "u-1")
    async with reading(database) as connection:
        row = (await connection.execute(select(data_keys))).one()
    assert key.key not in row.wrapped
    assert key.key.hex() not in repr(key)
    assert str(key.key) not in repr(key)


async def test_a_workflow_is_bound_to_who_began_it(keys: DataKeys, provider: LocalKeys) -> None:
    """For every process, however often it is said."""
    await keys.bind("conv-1", "acme", "u-1")
    await keys.bind("conv-1", "acme", "u-1")
    assert await other_process(keys, provider).of_workflow("conv-1") == await keys.of_user("acme", "u-1")


async def test_a_workflow_in_which_two_speak_is_forgotten_with_either(keys: DataKeys) -> None:
    """It goes on under a key of both; what is the other's alone stays."""
    await keys.bind("conv-1", "acme", "u-1")
    before = await keys.of_workflow("conv-1")
    await keys.bind("conv-1", "acme", "u-2")
    joint = await keys.of_workflow("conv-1")
    assert joint not in (before, await keys.of_user("acme", "u-2"))
    assert (await keys.destroy("acme", "u-2")).workflows == ("conv-1",)
    with pytest.raises(KeyMissing):
        await keys.by_id(joint.id)
    assert await keys.of_user("acme", "u-1") == before


async def test_many_who_speak_first_at_once_share_it(keys: DataKeys, provider: LocalKeys) -> None:
    """None of them is left out of whom it is forgotten with, whatever process heard them."""
    names = [f"u-{number}" for number in range(5)]
    await asyncio.gather(*(other_process(keys, provider).bind("conv-1", "acme", name) for name in names))
    joint = await keys.of_workflow("conv-1")
    owners = await KeyOwners(keys._engine).of([joint.id])
    assert owners[joint.id] == KeyOwner("acme", frozenset(names))


async def in_the_tables(keys: DataKeys) -> list[list[str]]:
    async with reading(keys._engine) as connection:
        tables = (data_keys, key_users, workflow_keys)
        return [sorted(map(repr, await connection.execute(select(table)))) for table in tables]


@pytest.mark.parametrize("state", ["runs", "of two", "forgotten", "of before"])
async def test_another_tenant_takes_over_no_workflow(keys: DataKeys, provider: LocalKeys, state: str) -> None:
    """One that runs, that was forgotten, or that began before anything was encrypted: refused as if there were none,
    and nothing is written. A remote codec's payload, or one of a schedule, takes it over neither."""
    if state == "of before":
        await AuditLog(keys._engine).append(a_row(tenant="acme"))
    else:
        await keys.bind("conv-1", "acme", "ann")
    if state == "of two":
        await keys.bind("conv-1", "acme", "carl")
    if state == "forgotten":
        await keys.destroy("acme", "ann")
    theirs = await keys.of_user("other", "bob")
    before = await in_the_tables(keys)
    for process in (keys, other_process(keys, provider)):
        with pytest.raises(UnknownConversation, match="conv-1"):
            await process.bind("conv-1", "other", "bob")
        await process.noticed("conv-1", theirs.id, from_outside=True)
        assert not await process.goes_on_under("conv-1", theirs.id)
    assert await in_the_tables(keys) == before
    await keys.bind("conv-1", "acme", "ann")
    assert not (await keys.destroy("other", "bob")).workflows
    assert await keys.of_workflow("conv-1")


async def test_who_is_not_heard_yet_takes_over_nothing(keys: DataKeys) -> None:
    """What a stranger started may be another tenant's than whose message comes first."""
    early = await keys.of_workflow("conv-x")
    await keys.bind("conv-x", "other", "bob", takes_over=False)
    assert await keys.of_workflow("conv-x") == early
    await keys.bind("conv-x", "acme", "ann")
    assert await keys.of_workflow("conv-x") == early
    assert (await keys.destroy("other", "bob")).keys == 0
    assert (await keys.destroy("acme", "ann")).workflows == ("conv-x",)


async def test_an_old_payload_read_again_brings_no_key_back(keys: DataKeys) -> None:
    """A turn of two that was under way while one was forgotten finds no key, whoever reads what the other sealed."""
    mine = await keys.of_user("acme", "u-1")
    await keys.bind("conv-1", "acme", "u-1")
    await keys.bind("conv-1", "acme", "u-2")
    await keys.destroy("acme", "u-2")
    await keys.noticed("conv-1", mine.id, from_outside=True)
    with pytest.raises(KeyDestroyed):
        await keys.of_workflow("conv-1")


async def test_whom_a_remote_codec_brings_in_is_forgotten_with_the_workflow(
    keys: DataKeys, provider: LocalKeys
) -> None:
    """From their first payload on it goes on under a key of both, in whatever process; read again when they were
    forgotten, also by one that remembers their key, it is refused and brings nobody back."""
    await keys.bind("conv-1", "acme", "ann")
    alone, theirs = await keys.of_workflow("conv-1"), await keys.of_user("acme", "bob")
    stale, fresh = other_process(keys, provider), other_process(keys, provider)
    assert [await stale.of_workflow("conv-1"), await stale.by_id(theirs.id)] == [alone, theirs]
    processes = (keys, stale, fresh)
    for process in processes:
        await process.noticed("conv-1", theirs.id, from_outside=True)
    (joint,) = {await process.of_workflow("conv-1") for process in processes}
    assert joint not in (alone, theirs)
    owners = await KeyOwners(keys._engine).of([joint.id])
    assert owners[joint.id] == KeyOwner("acme", frozenset({"ann", "bob"}))
    assert (await keys.destroy("acme", "bob")).workflows == ("conv-1",)
    await keys.bind("conv-1", "acme", "ann")
    with pytest.raises(KeyDestroyed, match=theirs.id):
        await stale.noticed("conv-1", theirs.id, from_outside=True)
    assert await stale.of_workflow("conv-1") == alone
    assert (await keys.destroy("acme", "bob")).keys == 0


@pytest.mark.parametrize("whose", ["ann's", "their own", "nobody's yet"])
async def test_who_is_forgotten_while_a_remote_codecs_payload_is_on_its_way_is_brought_into_no_workflow(
    keys: DataKeys, provider: LocalKeys, whose: str
) -> None:
    """Also by a process that remembers their key, and that remembers the workflow as theirs: it says so, and opens
    nothing more with it."""
    if whose == "ann's":
        await keys.bind("conv-1", "acme", "ann")
    if whose == "their own":
        await keys.bind("conv-1", "acme", "bob")
    theirs = await keys.of_user("acme", "bob")
    stale = other_process(keys, provider)
    assert await stale.by_id(theirs.id) == theirs
    if whose != "nobody's yet":
        await stale.of_workflow("conv-1")
    await keys.destroy("acme", "bob")
    if whose == "their own":  # and is ann's by now
        await keys.bind("conv-1", "acme", "ann")
    before = await in_the_tables(keys)
    with pytest.raises(KeyDestroyed, match=theirs.id):
        await stale.noticed("conv-1", theirs.id, from_outside=True)
    assert await in_the_tables(keys) == before
    with pytest.raises(KeyDestroyed):
        await stale.by_id(theirs.id)
    fresh = other_process(keys, provider)
    assert await stale.of_workflow("conv-1") == await fresh.of_workflow("conv-1") != theirs
    assert await fresh.held("acme", "bob") is None


async def test_a_tenants_own_key_is_not_forgotten(keys: DataKeys) -> None:
    """It is no user's: what it made findable would not be found any more."""
    own = await keys.of_user("acme", NOBODY)
    with pytest.raises(InvalidRequest, match="user: is empty"):
        await keys.destroy("acme", NOBODY)
    assert await keys.held("acme", NOBODY) == own


async def test_what_a_stranger_started_becomes_the_users(keys: DataKeys) -> None:
    """Sealed before it is known whose it is, and forgotten with whoever it turns out to be."""
    early = await keys.of_workflow("conv-x")
    await keys.bind("conv-x", "acme", "u-1")
    assert await keys.of_workflow("conv-x") == early
    assert (await keys.destroy("acme", "u-1")).keys == 1
    with pytest.raises(KeyMissing):
        await keys.by_id(early.id)


async def test_many_that_see_a_strangers_workflow_first_agree(keys: DataKeys, provider: LocalKeys) -> None:
    """One key, and no other is left behind."""
    found = await asyncio.gather(*(other_process(keys, provider).of_workflow("conv-x") for _ in range(5)))
    assert len(set(found)) == 1
    async with reading(keys._engine) as connection:
        assert (await connection.execute(select(data_keys.c.tenant))).scalars().all() == [NOBODY]


async def test_forgetting_destroys_all_of_a_users_keys_and_no_others(keys: DataKeys, provider: LocalKeys) -> None:
    """Of the key nothing is left; who comes back begins with another one."""
    gone, other = await keys.of_user("acme", "u-1"), await keys.of_user("acme", "u-2")
    await keys.bind("conv-1", "acme", "u-1")
    destroyed = await keys.destroy("acme", "u-1")
    assert (destroyed.keys, destroyed.workflows) == (1, ("conv-1",))
    for process in (keys, other_process(keys, provider)):
        with pytest.raises(KeyMissing, match="destroyed"):
            await process.by_id(gone.id)
    assert await keys.by_id(other.id) == other
    again = await keys.of_user("acme", "u-1")
    assert again.id != gone.id
    await keys.bind("conv-1", "acme", "u-1")
    assert await keys.of_workflow("conv-1") == again
    async with reading(keys._engine) as connection:
        row = (await connection.execute(select(data_keys).where(data_keys.c.id == gone.id))).one()
    assert row.wrapped is None
    assert row.destroyed is not None


async def test_a_destroyed_key_leaves_sqlites_file(tmp_path: Path, provider: LocalKeys) -> None:
    """Not even in a page that is free, or in the write-ahead log."""
    path = tmp_path / "records.db"
    await migrate(f"sqlite+aiosqlite:///{path}")
    engine = connect_database(f"sqlite+aiosqlite:///{path}")
    keys = DataKeys(engine, provider)
    for number in range(30):
        await keys.of_user("acme", f"u-{number}")
    async with reading(engine) as connection:
        wrapped = (
            await connection.execute(select(data_keys.c.wrapped).where(data_keys.c.user_id == "u-7"))
        ).scalar_one()
    files = [path, path.with_name("records.db-wal")]
    assert any(wrapped in file.read_bytes() for file in files)
    await keys.destroy("acme", "u-7")
    assert not any(wrapped in file.read_bytes() for file in files)
    await engine.dispose()


async def test_who_is_forgotten_elsewhere_and_speaks_again_begins_anew(keys: DataKeys, provider: LocalKeys) -> None:
    """At once, though this process remembers key and workflow: what it seals opens in every other one."""
    other = other_process(keys, provider)
    await other.bind("conv-1", "acme", "u-1")
    gone = await other.of_workflow("conv-1")
    await keys.destroy("acme", "u-1")
    assert await other.held("acme", "u-1") is None
    await other.bind("conv-1", "acme", "u-1")
    new = await other.of_workflow("conv-1")
    assert new != gone
    assert new == await other.of_user("acme", "u-1") == await other.held("acme", "u-1")
    assert await keys.by_id(new.id) == new
    with pytest.raises(KeyDestroyed):
        await other.by_id(gone.id)


async def test_a_key_stays_while_something_is_written_under_it(keys: DataKeys, provider: LocalKeys) -> None:
    """Forgetting waits for the transaction, and a transaction that comes after finds the key gone."""
    mine = await keys.of_user("acme", "u-1")
    async with writing(keys._engine) as connection:
        await keys.hold(connection, mine.id)
        forgetting = asyncio.create_task(other_process(keys, provider).destroy("acme", "u-1"))
        assert not (await asyncio.wait({forgetting}, timeout=0.3))[0]
    assert (await forgetting).keys == 1
    with pytest.raises(KeyDestroyed):
        async with writing(keys._engine) as connection:
            await keys.hold(connection, mine.id)


async def test_many_keys_stay_while_a_file_of_theirs_is_noted(keys: DataKeys, provider: LocalKeys) -> None:
    """Of all that is these people's: what went since is told, and neither what went before nor what was never a key."""
    await keys.of_user("acme", "u-1")
    await keys.destroy("acme", "u-1")
    before = await destroyed_keys(keys._engine)
    mine, theirs = await keys.of_user("acme", "u-1"), await keys.of_user("acme", "u-2")
    people = [("acme", "u-1"), ("acme", "u-2"), ("acme", "nobody")]
    async with writing(keys._engine) as connection:
        await hold_keys(connection, [mine.id, theirs.id, "no key"])
        await hold_keys_of(connection, people, before)
        forgetting = asyncio.create_task(other_process(keys, provider).destroy("acme", "u-2"))
        assert not (await asyncio.wait({forgetting}, timeout=0.3))[0]
    assert (await forgetting).keys == 1
    with pytest.raises(KeyDestroyed, match=theirs.id):
        async with writing(keys._engine) as connection:
            await hold_keys_of(connection, people, before)
    async with writing(keys._engine) as connection:
        await hold_keys_of(connection, people[:1], before)


async def test_a_key_that_left_the_file_is_missed_by_name(keys: DataKeys, provider: LocalKeys, tmp_path: Path) -> None:
    """The message names the file and the key, and is no nondeterminism or broken seal."""
    key = await keys.of_user("acme", "u-1")
    strange = LocalKeys(tmp_path / "other.keys", make=True)
    with pytest.raises(KeyMissing, match="has no key"):
        await DataKeys(keys._engine, strange).by_id(key.id)


async def test_nothing_new_is_sealed_while_the_key_file_is_lost(keys: DataKeys, provider: LocalKeys) -> None:
    """A process finds none and makes one: it gets no data key of a user under that, which would be lost when the right
    file comes back."""
    kept = provider._path.read_text()
    await keys.of_user("acme", "u-1")
    provider._path.unlink()
    stranger = DataKeys(keys._engine, LocalKeys(provider._path, make=True))
    for ask in (stranger.of_user("acme", "u-2"), stranger.bind("conv-2", "acme", "u-2")):
        with pytest.raises(KeyMissing, match="Put it back behind the others"):
            await ask
    provider._path.write_text(kept)
    assert (await DataKeys(keys._engine, LocalKeys(provider._path)).of_user("acme", "u-2")).id


async def test_a_made_up_key_file_wraps_nothing(keys: DataKeys, provider: LocalKeys) -> None:
    """Nor what an SDK without a codec began, nor for a new tenant, nor in a process that knew the right one."""
    kept = provider._path.read_text()
    await keys.of_user("acme", "ann")
    early = await keys.of_workflow("conv-x")
    provider._path.unlink()
    stranger = DataKeys(keys._engine, LocalKeys(provider._path, make=True))
    made_up = provider._path.read_text()
    for ask in (
        stranger.of_workflow("conv-y"),
        stranger.of_user("new", "bob"),
        keys.of_user("acme", "carl"),
        keys.of_workflow("conv-y"),
    ):
        with pytest.raises(KeyMissing, match="Put it back behind the others"):
            await ask
    # both keys: what was nobody's opens, and is wrapped under the file's first
    provider._path.write_text(kept + made_up)
    await keys.bind("conv-x", "acme", "ann")
    provider._path.write_text(kept)
    right = DataKeys(keys._engine, LocalKeys(provider._path))
    assert await right.by_id(early.id) == early
    assert (await right.of_user("acme", "carl")).id


async def test_what_was_nobodys_is_not_wrapped_under_a_made_up_file(keys: DataKeys, provider: LocalKeys) -> None:
    """The first step of a workflow that began in clear under it fails, and no later user's key passes by that one."""
    await keys.of_user("acme", "ann")
    provider._path.unlink()
    made_up = LocalKeys(provider._path, make=True)
    unguarded = await made_up.wrap(NOBODY, b"k" * 32)
    row = {"id": "0" * 16, "tenant": NOBODY, "wrapped": unguarded.blob, "wrapped_by": unguarded.by}
    async with writing(keys._engine) as connection:
        await connection.execute(data_keys.insert().values(row | {"created": datetime.now(UTC)}))
        bound = {"workflow_id": "conv-x", "key_id": row["id"], "created": datetime.now(UTC)}
        await connection.execute(workflow_keys.insert().values(bound))
    stranger = DataKeys(keys._engine, made_up)
    for ask in (
        stranger.bind("conv-x", "acme", "bob"),
        stranger.of_user("acme", "carl"),
        stranger.of_user("new", "dora"),
        stranger.of_workflow("conv-y"),
    ):
        with pytest.raises(KeyMissing, match="Put it back behind the others"):
            await ask


async def test_a_stray_key_of_a_made_up_file_holds_up_nobody(keys: DataKeys, provider: LocalKeys) -> None:
    """The right file is the one that was there first."""
    kept = provider._path.read_text()
    await keys.of_user("acme", "ann")
    stray = await LocalKeys(provider._path.with_name("made-up.keys"), make=True).wrap("acme", b"k" * 32)
    row = {"id": "0" * 16, "tenant": "acme", "wrapped": stray.blob, "wrapped_by": stray.by}
    async with writing(keys._engine) as connection:
        await connection.execute(data_keys.insert().values(row | {"created": datetime.now(UTC)}))
    assert provider._path.read_text() == kept
    for tenant in ("acme", "new"):
        assert (await other_process(keys, provider).of_user(tenant, "carl")).id
    assert (await other_process(keys, provider).of_workflow("conv-x")).id


class OwnKeys(LocalKeys):
    """As a key service holds them: one for each tenant, and some were taken away."""

    def __init__(self, path: Path, *gone: str) -> None:
        super().__init__(path, make=True)
        self.gone = gone

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        return Wrapped(tenant, (await super().wrap(tenant, key)).blob)

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        if wrapped.by in self.gone:
            raise KeyMissing(f"encryption.key: {wrapped.by} is not there.")
        return await super().unwrap(tenant, Wrapped(next(iter(self._keys)), wrapped.blob))


async def test_a_tenant_whose_key_was_taken_away_holds_up_no_other(database: AsyncEngine, tmp_path: Path) -> None:
    """Of several tenants' keys one that opens shows that they are the right ones; where none does, they are not."""
    path = tmp_path / "own.keys"
    for tenant in ("acme", "other"):
        await DataKeys(database, OwnKeys(path)).of_user(tenant, "ann")
    wrapped = OwnKeys(path, "acme")
    assert await KeyWrapping(database, wrapped).ready("new")
    assert await KeyWrapping(database, wrapped).ready(NOBODY)
    with pytest.raises(KeyMissing, match="acme is not there"):
        await KeyWrapping(database, OwnKeys(path, "acme", "other")).ready("new")


async def test_a_key_that_was_there_first_meanwhile_is_the_right_one(database: AsyncEngine, tmp_path: Path) -> None:
    """Of two processes that found an empty database, each with a key file of its own, one writes its key down."""
    mine, others = (LocalKeys(tmp_path / name, make=True) for name in ("mine.keys", "others.keys"))
    wrapping = KeyWrapping(database, mine)
    ready = await wrapping.ready("acme")
    async with writing(database) as connection:
        assert await wrapping.stands(connection, ready)
    await DataKeys(database, others).of_user("acme", "ann")
    async with writing(database) as connection:
        assert not await wrapping.stands(connection, ready)
    with pytest.raises(KeyMissing, match="has no key"):
        await wrapping.ready("acme")


class Hangs(LocalKeys):
    """As a key service that answers some time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        self.asked.set()
        await self.answers.wait()
        return await super().wrap(tenant, key)


@pytest.fixture
def hanging(keys: DataKeys, provider: LocalKeys) -> tuple[DataKeys, Hangs]:
    """Another process, and the key service that only it has to ask."""
    service = Hangs(provider._path)
    return DataKeys(keys._engine, service), service


@pytest.mark.parametrize("conversation", ["new", "ann's", "nobody's"])
async def test_a_key_service_that_hangs_holds_up_nobody_else(
    keys: DataKeys, hanging: tuple[DataKeys, Hangs], conversation: str
) -> None:
    """While a newcomer's key, a key of two, or one that was nobody's waits to be wrapped, another user's row is
    written."""
    await keys.bind("ann's", "acme", "ann")
    await keys.of_workflow("nobody's")
    process, service = hanging
    newcomer = asyncio.create_task(process.bind(conversation, "acme", "bob"))
    await service.asked.wait()
    async with asyncio.timeout(2):
        assert (await AuditLog(keys._engine, keys).append(a_row(tenant="acme", user_id="ann"))).created
    assert not newcomer.done()
    service.answers.set()
    await newcomer
    theirs = await keys.destroy("acme", "bob")
    assert theirs.workflows == (conversation,)


async def test_whoever_made_a_users_key_first_made_it(keys: DataKeys, hanging: tuple[DataKeys, Hangs]) -> None:
    """Who waited for the key service meanwhile takes that one, and leaves no other behind."""
    process, service = hanging
    late = asyncio.create_task(process.of_user("acme", "bob"))
    await service.asked.wait()
    first = await keys.of_user("acme", "bob")
    service.answers.set()
    assert await late == first
    async with reading(keys._engine) as connection:
        assert list((await connection.execute(select(data_keys.c.id))).scalars()) == [first.id]


async def test_who_is_forgotten_while_a_key_is_wrapped_is_no_part_of_it(
    keys: DataKeys, hanging: tuple[DataKeys, Hangs]
) -> None:
    """Nobody waits for the key service to forget them, and the conversation goes on as the other's alone."""
    await keys.bind("conv-1", "acme", "ann")
    process, service = hanging
    joins = asyncio.create_task(process.bind("conv-1", "acme", "bob"))
    await service.asked.wait()
    async with asyncio.timeout(2):
        assert (await keys.destroy("acme", "ann")).workflows == ("conv-1",)
    service.answers.set()
    await joins
    assert await keys.of_workflow("conv-1") == await keys.of_user("acme", "bob")
    assert (await keys.destroy("acme", "ann")).keys == 0


async def test_who_is_forgotten_while_they_are_joined_gets_no_part_of_it(
    keys: DataKeys, hanging: tuple[DataKeys, Hangs]
) -> None:
    """By a remote codec's payload: they were there when it came, and are not when the key of both is ready."""
    await keys.bind("conv-1", "acme", "ann")
    alone, theirs = await keys.of_workflow("conv-1"), await keys.of_user("acme", "bob")
    process, service = hanging
    joins = asyncio.create_task(process.noticed("conv-1", theirs.id, from_outside=True))
    await service.asked.wait()
    assert (await keys.destroy("acme", "bob")).workflows == ()
    service.answers.set()
    with pytest.raises(KeyDestroyed, match=theirs.id):
        await joins
    assert await process.of_workflow("conv-1") == alone
    assert (await keys.destroy("acme", "bob")).keys == 0


async def test_two_who_join_each_others_workflows_wait_for_nobody(keys: DataKeys, provider: LocalKeys) -> None:
    """Each holds both keys, in one order."""
    mine, theirs = await keys.of_user("acme", "ann"), await keys.of_user("acme", "bob")
    pairs = [("ann", theirs.id), ("bob", mine.id)]
    names = [(f"{user}-{number}", user, other) for number in range(3) for user, other in pairs]
    for name, user, _ in names:
        await keys.bind(name, "acme", user)
    async with asyncio.timeout(20):
        await asyncio.gather(
            *(other_process(keys, provider).noticed(name, other, from_outside=True) for name, _, other in names)
        )
    joint = {(await other_process(keys, provider).of_workflow(name)).id for name, _, _ in names}
    owners = await KeyOwners(keys._engine).of(list(joint))
    assert set(owners.values()) == {KeyOwner("acme", frozenset({"ann", "bob"}))}


async def test_what_is_one_tenants_is_not_anothers(provider: LocalKeys) -> None:
    """A wrapped key that was moved to another tenant's row does not open."""
    wrapped = await provider.wrap("acme", b"k" * 32)
    assert await provider.unwrap("acme", wrapped) == b"k" * 32
    with pytest.raises(SealBroken):
        await provider.unwrap("other", wrapped)
    with pytest.raises(SealBroken):
        await provider.unwrap("acme", Wrapped(wrapped.by, wrapped.blob[:-1] + b"\0"))


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """It is made so, and one that others may read is refused with the command that helps."""
    path = tmp_path / "keys" / "site.keys"
    LocalKeys(path, make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(SettingsFault, match=r"encryption\.key_file: .*chmod 600"):
        LocalKeys(path)


@pytest.mark.parametrize("written", ["", "nonsense", "AAAA", "é"])
def test_what_is_no_key_is_refused(tmp_path: Path, written: str) -> None:
    """One line, which names the setting."""
    path = tmp_path / "site.keys"
    path.write_text(written)
    path.chmod(0o600)
    with pytest.raises(SettingsFault, match=r"^encryption\.key_file: "):
        LocalKeys(path)


async def test_keys_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wraps, all unwrap; nobody but who sets it makes a new one."""
    new, old = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    monkeypatch.setenv("SITE", old)
    wrapped = await EnvironmentKeys("SITE").wrap("acme", b"k" * 32)
    monkeypatch.setenv("SITE", f"{new},{old}")
    after = EnvironmentKeys("SITE")
    assert await after.unwrap("acme", wrapped) == b"k" * 32
    assert (await after.wrap("acme", b"k" * 32)).by != wrapped.by
    assert not await after.rotate(("acme",))
    monkeypatch.delenv("SITE")
    with pytest.raises(SettingsFault, match="the variable SITE holds no key"):
        EnvironmentKeys("SITE")


def test_the_settings_name_the_provider(tmp_path: Path) -> None:
    """None by default; ``local`` makes its file below ``data``."""
    assert open_key_provider(Settings(data=tmp_path)) is None
    local = EncryptionSettings(provider="local")
    assert isinstance(open_key_provider(Settings(data=tmp_path, encryption=local)), LocalKeys)
    assert (tmp_path / "keys" / "site.keys").exists()
