"""``parley keys``: a key is shown once, listed without its secret, and revoked."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from records.api_keys import PREFIX
from records.caller_tokens import CallerTokens


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site that never ran: no folder ``var``, no table."""
    file = tmp_path / "temporal.yaml"
    file.write_text("tenants: {default: {}, acme: {}}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    return tmp_path


class Parley:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        assert run(["keys", *arguments]) == code
        said = self._capsys.readouterr()
        return said.out, said.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json")[0])


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str]) -> Parley:
    return Parley(capsys)


def test_a_key_is_printed_once(keys: Parley) -> None:
    """Alone on standard output, so that it can be piped; what it is goes beside it."""
    out, err = keys("create", "--tenant", "acme", "--name", "till", "--expires", "30")
    key = out.strip()
    assert key.startswith(PREFIX)
    assert "not shown again" in err
    listed, _ = keys("list")
    assert key.split("_")[1] in listed
    assert "till" in listed
    assert key.split("_", 2)[2] not in listed


def test_scopes_and_user_are_kept(keys: Parley) -> None:
    """--scope may be repeated; JSON has what the table has."""
    made = keys.json("create", "--tenant", "acme", "--user", "ann", "--scope", "chat", "--scope", "review")
    listed = keys.json("list", "--tenant", "acme")
    assert [{"key": made["key"], **listed[0]}] == [made]
    assert (made["scopes"], made["user"], made["expires"]) == (["chat", "review"], "ann", None)
    assert "digest" not in made
    assert keys.json("list", "--tenant", "default") == []


@pytest.mark.parametrize("named", ["id", "key"])
def test_a_key_is_revoked_by_its_id_or_itself(keys: Parley, named: str) -> None:
    """Whoever finds a leaked key has the key, and not its id."""
    made = keys.json("create", "--tenant", "acme")
    assert keys("revoke", made[named])[0] == f"{made['id']} is revoked.\n"
    assert "revoked 20" in keys("list")[0]
    assert keys.json("list")[0]["revoked"] is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create",), "--tenant"),
        (("create", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("create", "--tenant", "acme", "--scope", "all"), "scope: there is no scope 'all'"),
        (("create", "--tenant", "acme", "--expires", "0"), "expires: must be more than 0"),
        (("create", "--tenant", "acme", "--user", "two words"), "user: 'two words' must be"),
        (("revoke", "nope"), "id: there is no key 'nope'"),
        (("token", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("token", "--tenant", "acme", "--seconds", "0"), "seconds: must be more than 0"),
        (("token", "--tenant", "acme", "--user", "two words"), "user: 'two words' must be"),
        (("list", "--tenant", "nobody"), "there is no tenant 'nobody'"),
    ],
)
def test_what_is_wrong_is_one_line(keys: Parley, arguments: tuple[str, ...], said: str) -> None:
    """And exit code 2."""
    out, err = keys(*arguments, code=2)
    assert out == ""
    assert said in err


def test_without_keys_the_list_says_how_to_make_one(keys: Parley) -> None:
    """And its JSON is an empty list."""
    assert keys("list")[0].startswith("There are no keys. Make one")
    assert keys.json("list") == []


def test_a_caller_token_is_printed_alone(keys: Parley, site: Path) -> None:
    """Signed with the site's own secret, which is made below its data, whether or not the site asks for tokens."""
    out, err = keys("token", "--tenant", "acme", "--user", "ann", "--seconds", "60")
    assert err == ""
    tokens = CallerTokens((((site / "var/caller.key").read_bytes().strip()),), demanded=True)
    tokens.verify(out.strip(), "acme", "ann", at=time.time())
    told = keys.json("token", "--tenant", "acme")
    assert (told["tenant"], told["user"], told["seconds"]) == ("acme", "anonymous", 300)
    tokens.verify(told["caller"], "acme", "anonymous", at=time.time())
