"""Tenants' keys that change while everything runs, one by one, and past what does not open."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialogue.faults import KeyMissing, SealBroken, SettingsFault
from records import private_file, tenant_keys
from records.data_keys import DataKeys
from records.database import connect_database, migrate, reading, writing
from records.key_rotation import KeyRotation, holds_data_keys
from records.tables import data_keys
from records.tenant_keys import LocalKeys, Wrapped


class TenantKeys(LocalKeys):
    """As a key service with a key for each tenant: those of ``gone`` are disabled."""

    gone: tuple[str, ...] = ()

    async def wrap(self, tenant: str, key: bytes) -> Wrapped:
        self._look(tenant)
        return await super().wrap(tenant, key)

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        self._look(tenant)
        return await super().unwrap(tenant, wrapped)

    async def rotate(self, tenants: tuple[str, ...]) -> bool:
        for tenant in tenants:
            self._look(tenant)
        return await super().rotate(tenants)

    def _look(self, tenant: str) -> None:
        if tenant in self.gone:
            raise KeyMissing(f"encryption.key: {tenant} is disabled.")


@pytest.fixture
def provider(tmp_path: Path) -> TenantKeys:
    return TenantKeys(tmp_path / "keys" / "site.keys", make=True)


@pytest.fixture
def keys(database: AsyncEngine, provider: TenantKeys) -> DataKeys:
    return DataKeys(database, provider)


@pytest.fixture
def rotation(database: AsyncEngine, provider: TenantKeys) -> KeyRotation:
    return KeyRotation(database, provider)


async def damage(database: AsyncEngine, id_: str) -> None:
    async with writing(database) as connection:
        await connection.execute(data_keys.update().where(data_keys.c.id == id_).values(wrapped=b"\x01" + b"x" * 60))


async def test_tenants_keys_change_while_everything_runs(
    keys: DataKeys, provider: TenantKeys, rotation: KeyRotation
) -> None:
    """Another process, which opened the file before, reads what is wrapped under the new key and wraps under it."""
    other_provider = LocalKeys(provider._path)
    other = DataKeys(keys._engine, other_provider)
    mine, old = await keys.of_user("acme", "u-1"), next(iter(provider._keys))
    assert await rotation.rotate()
    new = await other.of_user("acme", "u-2")
    assert (await rotation.rewrap()).done == 2
    fresh = DataKeys(keys._engine, LocalKeys(provider._path))
    assert await fresh.by_id(mine.id) == mine
    assert await fresh.by_id(new.id) == new
    async with reading(keys._engine) as connection:
        by = set((await connection.execute(select(data_keys.c.wrapped_by))).scalars())
    assert by == {next(iter(other_provider._keys))} != {old}
    # nothing needs the old key any more
    lines = provider._path.read_text().splitlines()
    provider._path.write_text(lines[0] + "\n")
    assert await DataKeys(keys._engine, LocalKeys(provider._path)).by_id(mine.id) == mine


async def test_a_database_is_asked_for_data_keys_before_anything_is_made_in_it(url: str, tmp_path: Path) -> None:
    """It may be another one than the site's."""
    engine = connect_database(url)
    assert not await holds_data_keys(url)
    async with reading(engine) as connection:
        assert await connection.run_sync(lambda made: inspect(made).get_table_names()) == []
    await migrate(url)
    assert not await holds_data_keys(url)
    await DataKeys(engine, LocalKeys(tmp_path / "site.keys", make=True)).of_user("acme", "ann")
    assert await holds_data_keys(url)
    await engine.dispose()


async def test_a_tenant_whose_key_is_gone_holds_up_no_other(
    keys: DataKeys, provider: TenantKeys, rotation: KeyRotation
) -> None:
    """The others get a new key and their data keys are wrapped under it; this one's are told, and whose they are."""
    for tenant in ("acme", "gone"):
        for user in ("ann", "bob"):
            await keys.of_user(tenant, user)
    (old,) = provider._keys
    provider.gone = ("gone",)
    assert await rotation.rotate()
    done = await rotation.rewrap()
    new = next(iter(provider._keys))
    assert done.done == 2
    assert {(each.tenant, each.users, each.by, each.why) for each in done.unopened} == {
        ("gone", (user,), old, "encryption.key: gone is disabled.") for user in ("ann", "bob")
    }
    standing = await rotation.standing()
    assert (standing.newest, standing.behind) == ({"acme": new}, 2)
    assert (await rotation.standing(done.unopened)).behind == 0
    provider.gone = ()
    assert (await rotation.rewrap()).unopened == ()
    assert (await rotation.standing()).behind == 0


async def test_where_no_tenants_key_wraps_none_is_made(
    keys: DataKeys, provider: TenantKeys, rotation: KeyRotation
) -> None:
    """And it is said why."""
    await keys.of_user("gone", "ann")
    provider.gone = ("gone",)
    with pytest.raises(KeyMissing, match="gone is disabled"):
        await rotation.rotate()


async def test_a_damaged_row_holds_up_none_behind_it(keys: DataKeys, rotation: KeyRotation) -> None:
    """It is the first, and told each time; the others are wrapped anew. With its user forgotten nothing is left."""
    users = {(await keys.of_user("acme", user)).id: user for user in ("ann", "bob", "carl")}
    first = min(users)
    await damage(keys._engine, first)
    assert await rotation.rotate()
    for _ in range(2):
        done = await rotation.rewrap()
        assert done.done == 2
        assert [(each.id, each.users) for each in done.unopened] == [(first, (users[first],))]
        assert "does not open" in done.unopened[0].why
        assert (await rotation.standing()).behind == 1
        assert (await rotation.standing(done.unopened)).behind == 0
    assert (await keys.destroy("acme", users[first])).keys == 1
    assert (await rotation.rewrap()).unopened == ()
    assert (await rotation.standing()).behind == 0


class Service(TenantKeys):
    """As a key service, which says of a damaged row what it says of a key that is gone."""

    async def unwrap(self, tenant: str, wrapped: Wrapped) -> bytes:
        try:
            return await super().unwrap(tenant, wrapped)
        except SealBroken as fault:
            raise KeyMissing(f"encryption.key: {fault.message}") from fault


@pytest.mark.parametrize("provider_type", [TenantKeys, Service])
@pytest.mark.parametrize("line", ["kept", "taken away"])
async def test_the_oldest_row_damaged_holds_up_nobody_new(
    database: AsyncEngine, provider: TenantKeys, provider_type: type[TenantKeys], line: str
) -> None:
    """It stays under the old key while all else is under the new one, and a process that starts afterwards has data
    keys made: of the tenant, of another one, and of what is nobody's; also when the old line was taken away."""
    keys = DataKeys(database, provider)
    oldest = await keys.of_user("acme", "ann")
    for user in ("bob", "carl"):
        await keys.of_user("acme", user)
    await damage(database, oldest.id)
    rotation = KeyRotation(database, provider)
    assert await rotation.rotate()
    assert [each.id for each in (await rotation.rewrap()).unopened] == [oldest.id]
    if line == "taken away":
        provider._path.write_text(provider._path.read_text().splitlines()[0] + "\n")
    for tenant in ("acme", "new"):
        assert (await DataKeys(database, provider_type(provider._path)).of_user(tenant, "dora")).id
    assert (await DataKeys(database, provider_type(provider._path)).of_workflow("sweep")).id


async def test_one_damaged_row_makes_no_key_look_missing(database: AsyncEngine, provider: TenantKeys) -> None:
    """A key service is asked for another one that is under the same key."""
    keys = DataKeys(database, provider)
    oldest = await keys.of_user("acme", "ann")
    await keys.of_user("acme", "bob")
    await damage(database, oldest.id)
    await provider.rotate(())  # and nothing is wrapped anew yet
    assert (await DataKeys(database, Service(provider._path)).of_user("acme", "dora")).id


async def test_of_two_that_rotate_at_once_neither_takes_the_others_key_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes while the other has read the file and not yet replaced it waits for it."""
    path = tmp_path / "site.keys"
    first, second = LocalKeys(path, make=True), LocalKeys(path)
    wrapped: list[Wrapped] = []

    async def comes_between() -> None:
        await second.rotate(())
        wrapped.append(await second.wrap("acme", b"k" * 32))

    between = threading.Thread(target=lambda: asyncio.run(comes_between()))

    def replace(path: Path, text: str | bytes, *, owner: int) -> None:
        monkeypatch.setattr(tenant_keys, "replace_private", private_file.replace_private)
        between.start()
        between.join(0.3)  # it is through by then, or it waits for us
        private_file.replace_private(path, text, owner=owner)

    monkeypatch.setattr(tenant_keys, "replace_private", replace)
    await first.rotate(())
    await asyncio.to_thread(between.join)
    assert len(path.read_text().splitlines()) == 3
    assert await LocalKeys(path).unwrap("acme", wrapped[0]) == b"k" * 32


async def test_a_file_that_is_linked_to_stays_one_file(tmp_path: Path) -> None:
    """The link stays a link; whoever reads the file under its own name opens what was wrapped since, and two that
    rotate under two names hold one lock."""
    path, link = tmp_path / "secure" / "site.keys", tmp_path / "site.keys"
    other = LocalKeys(path, make=True)
    link.symlink_to(path)
    linked = LocalKeys(link)
    await linked.rotate(())
    assert link.is_symlink()
    assert len(path.read_text().splitlines()) == 2
    assert await other.unwrap("acme", await linked.wrap("acme", b"k" * 32)) == b"k" * 32
    assert names(tmp_path) == {"secure", "site.keys"}
    assert names(path.parent) == {"site.keys", "site.keys.lock"}


@pytest.mark.skipif(os.geteuid() != 0, reason="a file of another user's is made, and given back to them")
async def test_a_file_stays_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root changes its keys, and the workers, who are its owner, read it on and may change them too. Where that cannot
    be, nothing is changed, and it is said whose it is."""
    keys = LocalKeys(tmp_path / "site.keys", make=True)
    lock = tmp_path / "site.keys.lock"
    os.chown(keys._path, 4711, -1)
    await keys.rotate(())
    assert [each.stat().st_uid for each in (keys._path, lock)] == [4711, 4711]
    assert len(keys._path.read_text().splitlines()) == 2

    def denied(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", denied)
    with pytest.raises(SettingsFault, match=r"cannot be replaced \(.*: it is user 4711's, run this as them\)"):
        await keys.rotate(())
    assert len(keys._path.read_text().splitlines()) == 2
    assert names(tmp_path) == {"site.keys", "site.keys.lock"}


@pytest.mark.parametrize(("code", "why"), [(errno.EROFS, "Read-only file system"), (errno.EBUSY, "resource busy")])
async def test_a_file_that_cannot_be_replaced_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, why: str
) -> None:
    """As a secret that is mounted: with the way on, the file as it was, and no copy of its keys beside it."""

    def fails(_: Path, __: Path) -> None:
        raise OSError(code, os.strerror(code))

    keys = LocalKeys(tmp_path / "site.keys", make=True)
    kept = keys._path.read_text()
    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(SettingsFault, match=rf"encryption\.key_file: .* cannot be replaced \(.*{why}\)") as caught:
        await keys.rotate(())
    assert "--rewrap-only" in caught.value.message
    assert keys._path.read_text() == kept
    assert names(tmp_path) <= {"site.keys", "site.keys.lock"}


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}
