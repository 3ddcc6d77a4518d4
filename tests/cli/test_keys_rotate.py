"""``parley keys rotate`` on a site that encrypts: no key is called needless that something is under."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from dialogue.faults import KeyMissing
from records.data_keys import NOBODY, DataKeys
from records.database import connect_database, migrate
from records.private_file import replace_private
from records.tenant_keys import KeyProvider, LocalKeys, Wrapped


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two users of two tenants each have a data key."""
    file = tmp_path / "temporal.yaml"
    file.write_text("encryption: {provider: local}\ntenants: {acme: {}, lantern: {}}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    (tmp_path / "var").mkdir()
    asyncio.run(migrate(f"sqlite+aiosqlite:///{tmp_path / 'var' / 'records.db'}"))
    speak(tmp_path, LocalKeys(key_file(tmp_path), make=True), [("acme", "ann"), ("lantern", "bob")])
    return tmp_path


def key_file(site: Path) -> Path:
    return site / "var" / "keys" / "site.keys"


def speak(site: Path, provider: KeyProvider, users: Iterable[tuple[str, str]]) -> set[bytes]:
    """Their data keys, made where they had none."""

    async def ask() -> set[bytes]:
        engine = connect_database(f"sqlite+aiosqlite:///{site / 'var' / 'records.db'}")
        found = {(await DataKeys(engine, provider).of_user(tenant, user)).key for tenant, user in users}
        await engine.dispose()
        return found

    return asyncio.run(ask())


class Rotate:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert run(["keys", "rotate", *arguments]) == code
        said = self._capsys.readouterr()
        return said.out + said.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        assert run(["keys", "rotate", *arguments, "--json"]) == code
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def rotate(capsys: pytest.CaptureFixture[str]) -> Rotate:
    return Rotate(capsys)


def test_rotate_leaves_everything_readable(rotate: Rotate, site: Path) -> None:
    """The new key stands first; once nothing was found under the old one, that may go."""
    users = [("acme", "ann"), ("lantern", "bob")]
    before = speak(site, LocalKeys(key_file(site)), users)
    done = rotate.json()
    assert (done["new_key"], done["rewrapped"], done["were_behind"], done["behind"]) == (True, 2, 2, 0)
    assert rotate("--rewrap-only") == (
        f"2 data keys of sqlite+aiosqlite:///{site}/var/records.db, all under the newest key ({done['newest'][0]}): "
        "no other is needed.\n"
    )
    lines = key_file(site).read_text().splitlines()
    assert len(lines) == 2
    key_file(site).write_text(lines[0] + "\n")
    assert rotate.json("--rewrap-only") == {**done, "new_key": False, "were_behind": 0}
    assert speak(site, LocalKeys(key_file(site)), users) == before


def test_a_data_key_that_came_late_under_the_old_key_is_told(rotate: Rotate, site: Path, tmp_path: Path) -> None:
    """Before that is taken away: of a machine on which the new key stands behind the old one still."""
    assert "Keep the old one until `parley keys rotate --rewrap-only`" in rotate()
    new, old = key_file(site).read_text().splitlines()
    replace_private(tmp_path / "late.keys", f"{old}\n{new}\n")
    speak(site, LocalKeys(tmp_path / "late.keys"), [("lantern", "eve")])
    done = rotate.json("--rewrap-only")
    assert (done["new_key"], done["rewrapped"], done["were_behind"], done["behind"]) == (False, 3, 1, 0)


def test_a_key_that_does_not_wrap_yet_is_told(rotate: Rotate, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Google's new version does not for a while: the old one has to stay, and the exit code is 1."""

    class Late(LocalKeys):
        async def rotate(self, tenants: tuple[str, ...]) -> bool:
            return True

    late = Late(key_file(site))
    monkeypatch.setattr("records.tenant_keys.open_key_provider", lambda _: late)
    said = rotate(code=1)
    assert "Keep the old key: 2 of 2 data keys of sqlite" in said
    assert "are not under the newest" in said


@pytest.mark.parametrize("arguments", [(), ("--rewrap-only",)])
@pytest.mark.parametrize("tables", [False, True])
def test_a_database_without_data_keys_is_not_the_sites(
    rotate: Rotate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], tables: bool
) -> None:
    """As beside the key service, or in another folder: it is named, nothing is made, and no key called needless."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "temporal.yaml").write_text("encryption: {provider: local}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(elsewhere / "temporal.yaml"))
    database = elsewhere / "var" / "records.db"
    if tables:
        database.parent.mkdir()
        asyncio.run(migrate(f"sqlite+aiosqlite:///{database}"))
    assert rotate(*arguments, code=1) == (
        f"records.database: sqlite+aiosqlite:///{database} holds no data key, so nothing was done. Run this where the "
        "site's records are, or name their database there.\n"
    )
    assert database.exists() == tables
    assert not (elsewhere / "var" / "keys").exists()


def test_a_tenant_whose_key_is_gone_is_named_and_the_others_go_on(
    rotate: Rotate, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, and no key is called needless until it opens again."""

    class Service(LocalKeys):
        gone = "lantern"

        async def wrap(self, tenant: str, key: bytes) -> Wrapped:
            if tenant == self.gone:
                raise KeyMissing("encryption.key: it is disabled. Is the key there, and may we use it?")
            return await super().wrap(tenant, key)

    service = Service(key_file(site))
    monkeypatch.setattr("records.tenant_keys.open_key_provider", lambda _: service)
    for arguments in ((), ("--rewrap-only",)):
        said = rotate(*arguments, code=1)
        assert "1 data key of tenant lantern does not open (" in said
        assert " of bob): encryption.key: it is disabled." in said
        assert f"1 data key of sqlite+aiosqlite:///{site}/var/records.db wrapped under the newest key (" in said
        assert "Keep every old key" in said
        assert "no other is needed" not in said
    service.gone = ""
    assert "2 data keys" in rotate("--rewrap-only")
    assert "no other is needed" in rotate("--rewrap-only")


def test_a_damaged_data_key_is_named_and_the_others_go_on(rotate: Rotate, site: Path) -> None:
    """With the one whose it is, so that they can be forgotten: then no other key is needed."""
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE data_keys SET wrapped = X'01' WHERE tenant = 'acme'")
        (id_,) = database.execute("SELECT id FROM data_keys WHERE tenant = 'acme'").fetchone()
    database.close()
    done = rotate.json(code=1)
    assert (done["new_key"], done["rewrapped"], done["behind"]) == (True, 1, 0)
    assert [(each["id"], each["tenant"], each["users"]) for each in done["unopened"]] == [(id_, "acme", ["ann"])]
    said = rotate("--rewrap-only", code=1)
    assert f"1 data key of tenant acme does not open ({id_} of ann): key " in said
    assert "parley audit forget USER" in said
    assert "no other is needed" not in said
    assert run(["audit", "forget", "ann", "--tenant", "acme", "--yes"]) == 0
    assert "1 data key of sqlite" in rotate("--rewrap-only")


def test_a_damaged_data_key_of_the_tenants_own_is_named_so(rotate: Rotate, site: Path) -> None:
    """That of its word index, which goes with no user: nobody is told to forget one."""
    speak(site, LocalKeys(key_file(site)), [("acme", NOBODY)])
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE data_keys SET wrapped = X'01' WHERE user_id = ''")
    database.close()
    said = rotate("--rewrap-only", code=1)
    assert " of the tenant itself): key " in said
    assert "audit forget" not in said


def test_a_tenants_key_that_is_not_changed_is_told(rotate: Rotate, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may wrap need not be allowed to rotate: exit code 1, and the old key has to stay."""

    class Forbidden(LocalKeys):
        async def rotate(self, tenants: tuple[str, ...]) -> bool:
            raise KeyMissing(f"encryption.key: no new version was made of {tenants[0]}: permission denied.")

    forbidden = Forbidden(key_file(site))
    monkeypatch.setattr("records.tenant_keys.open_key_provider", lambda _: forbidden)
    said = rotate(code=1)
    assert "no new version was made of acme: permission denied. Mend that" in said
    assert "no other is needed" not in said


def test_a_key_file_that_cannot_be_replaced_is_one_line(
    rotate: Rotate, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a secret that is mounted, with the way on and exit code 2."""

    def read_only(*_: object, owner: int) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("records.tenant_keys.replace_private", read_only)
    said = rotate(code=2)
    assert said.startswith(f"encryption.key_file: {key_file(site)} cannot be replaced (Read-only file system). Put ")
    assert said.count("\n") == 1


def test_without_a_provider_there_is_nothing_to_rotate(rotate: Rotate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than pretending."""
    monkeypatch.setenv("PARLEY_ENCRYPTION__PROVIDER", "none")
    assert "encryption.provider: is none" in rotate(code=2)
