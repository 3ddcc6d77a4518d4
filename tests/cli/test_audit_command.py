"""``parley audit`` on a site that encrypts, without any server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from dialogue.messages import TextFile, message_digest, text_digest
from dialogue.receipt import Receipt, passages_digest
from records.audit import AuditLog
from records.database import connect_database, migrate
from records.protection import open_protection
from records.signing import Signer
from settings.load import load
from tests.records.rows import a_row


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three rows of two users; Temporal is not running."""
    file = tmp_path / "temporal.yaml"
    file.write_text(
        "encryption: {provider: local}\ntemporal: {address: '127.0.0.1:9'}\ntenants: {default: {}, lantern: {}}\n"
    )
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    asyncio.run(fill())
    return tmp_path


async def fill() -> None:
    settings = load()
    (settings.root / "var").mkdir()
    url = f"sqlite+aiosqlite:///{settings.root / 'var' / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    protection = open_protection(settings, engine)
    assert protection is not None
    audit = AuditLog(engine, protection.keys)
    for turn, user in enumerate(("ann", "ann", "bob"), 1):
        await protection.keys.bind(f"conv-{user}", "lantern", user)
        await audit.append(a_row(turn=turn, user_id=user))
    await engine.dispose()


class Parley:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert run(arguments) == code
        said = self._capsys.readouterr()
        return said.out + said.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        assert run([*arguments, "--json"]) == code
        return json.loads(self._capsys.readouterr().out)


@pytest.fixture
def parley(capsys: pytest.CaptureFixture[str]) -> Parley:
    return Parley(capsys)


def test_verify_names_the_row_that_was_changed(parley: Parley, site: Path) -> None:
    """Exit code 0 for a chain that is whole, 1 for one that is not."""
    assert parley("audit", "verify") == "3 rows: whole.\n"
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE interaction_logs SET usage = '{', note = CAST(X'ff' AS TEXT) WHERE id = 1")
        database.execute("UPDATE interaction_logs SET verdict = 'block' WHERE id = 2")
        database.execute("UPDATE interaction_logs SET tenant = CAST(X'1b5b324a' AS TEXT) WHERE id = 3")
    database.close()
    said = parley("audit", "verify", code=1)
    assert "changed: tenant lantern: row 1 is not as it was written: nobody wrote what stands in usage, note." in said
    assert "changed: tenant lantern: row 2 is not as it was written: its hash does not match" in said
    assert "changed: tenant [2J: row 3 is not as it was written: its hash does not match" in said
    assert run(["audit", "verify", "--tenant", "lantern", "--json"]) == 1


def test_where_rows_begin_is_signed_on_somebodys_word(parley: Parley, site: Path) -> None:
    """What no retention signed for is named, until an operator says that it is known."""
    assert parley("audit", "accept", "--tenant", "lantern", "--yes") == "lantern: nothing is to be signed.\n"
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute(
            "INSERT INTO audit_tails (tenant, position, hash, timestamp) "
            "SELECT tenant, position, hash, '2026-11-29 12:00:00.000000' FROM interaction_logs WHERE position = 2"
        )
        database.execute("DELETE FROM interaction_logs WHERE position <= 2")
    database.close()
    assert "removed: tenant lantern: the rows up to position 2 were removed" in parley("audit", "verify", code=1)
    shown = parley("audit", "accept", "--tenant", "lantern")
    assert shown == (
        "lantern: the rows up to position 2 are gone, it says since 2026-11-29 12:00Z. Nothing was signed: add --yes.\n"
    )
    parley("audit", "verify", code=1)
    assert "Signed with" in parley("audit", "accept", "--tenant", "lantern", "--yes")
    assert parley("audit", "verify") == "1 rows: whole.\n"


def test_a_damaged_text_is_one_line_and_the_rest_is_shown(parley: Parley, site: Path) -> None:
    """In an export, which ends with 1, and in what is found."""
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE interaction_logs SET input_text = substr(input_text, 2) WHERE id = 2")
    database.close()
    line = "damaged: turn 2 of conv-1 (row 2 of tenant lantern): input_text: not as written, and left empty"
    said = parley("audit", "export", str(site / "rows.csv"), "--tenant", "lantern", code=1)
    assert line in said
    assert "3 rows, positions 1 to 3" in said
    assert (site / "rows.csv").read_text("utf-8-sig").count("parcel") == 2
    assert f"  {line}\n" in parley("replay", "find", "--text", "parcel")
    assert [row["damaged"] for row in parley.json("replay", "find")] == [[], ["input_text"], []]


def test_a_row_that_cannot_be_shown_is_one_line_and_the_others_are_shown(parley: Parley, site: Path) -> None:
    """In an export, and in what is found or affected; a moment that is none is left empty."""
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE interaction_logs SET timestamp = 'x' WHERE id = 1")
        database.execute("UPDATE interaction_logs SET verdict = 'fine' WHERE id = 2")
    database.close()
    line = "audit row 2: verdict: not as it was written, and the row cannot be shown."
    said = parley("audit", "export", str(site / "rows.csv"), "--tenant", "lantern", code=1)
    assert line in said
    assert "2 rows, positions 1 to 3" in said
    found = parley("replay", "find", code=4)
    assert found.count(line) == 1
    assert found.count("parley replay show") == 2
    assert "?  pass" in found
    assert "timestamp: not as written" in found
    assert {row["id"] for row in parley.json("replay", "find", code=4)} == {1, 3}
    affected = parley("replay", "affected", "--model", "small", code=4)
    assert affected.count(line) == 1
    assert "?  pass  parley replay show conv-1 --turn 1" in affected
    assert "2 answers to 2 people" in affected


def test_forget_shows_first_and_then_does_it(parley: Parley, site: Path) -> None:
    """Nothing without --yes; then the text is gone, the chain whole, and the export of before is named."""
    file = site / "rows.csv"
    assert "3 rows, positions 1 to 3" in parley("audit", "export", str(file), "--tenant", "lantern")
    shown = parley("audit", "forget", "ann", "--tenant", "lantern")
    assert "1 conversation would open no more. Nothing was done" in shown
    assert str(file) in shown
    done = parley.json("audit", "forget", "ann", "--tenant", "lantern", "--yes")
    assert (done["keys"], done["workflows"], done["not_ended"]) == (1, ["conv-ann"], ["conv-ann"])
    assert [export["place"] for export in done["exports"]] == [str(file)]
    assert parley("audit", "verify") == "3 rows: whole.\n"
    after = site / "after.csv"
    parley("audit", "export", str(after), "--tenant", "lantern")
    assert "parcel" in file.read_text("utf-8-sig")
    assert after.read_text("utf-8-sig").count("parcel") == 1
    assert "nothing is left to forget" in parley("audit", "forget", "ann", "--tenant", "lantern", "--yes")


@pytest.mark.parametrize("user", ["", "ann smith"])
def test_only_who_has_a_name_is_forgotten(parley: Parley, user: str) -> None:
    """Without one it would be the tenant's own key that goes, and with it the index of words."""
    said = parley("audit", "forget", user, "--tenant", "lantern", "--yes", code=2)
    assert f"user: {user!r} must be 1 to 128 letters" in said


def test_export_takes_a_user_and_a_time(parley: Parley, site: Path) -> None:
    """And says when there is nothing of them."""
    told = parley.json("audit", "export", str(site / "bob.csv"), "--tenant", "lantern", "--user", "bob")
    assert (told["rows"], told["first"], told["last"]) == (1, 3, 3)
    late = parley("audit", "export", str(site / "x.csv"), "--tenant", "lantern", "--since", "2100-01-01")
    assert "nothing was written" in late
    assert "since: 'soon' is no moment" in parley("audit", "export", str(site / "x.csv"), "--since", "soon", code=2)
    assert "file: rows.doc must end with" in parley("audit", "export", str(site / "rows.doc"), code=2)


def test_without_a_provider_it_is_said_that_nothing_can_be_forgotten(
    parley: Parley, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than pretending."""
    monkeypatch.setenv("PARLEY_ENCRYPTION__PROVIDER", "none")
    assert "encryption.provider: is none" in parley("audit", "forget", "ann", "--tenant", "lantern", "--yes", code=2)
    assert parley("audit", "verify") == "3 rows: whole.\n"


def test_a_receipt_is_checked_offline(parley: Parley, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of a reply as the gateway sent it, elsewhere with the public key alone."""
    signer = Signer.open(load())
    receipt = signer.receipt(
        Receipt(
            tenant="lantern", conversation="conv-1", turn=1, question=text_digest("How long?"),
            answer=text_digest("30 days"), passages=passages_digest(()), audit_id=1, audit_hash="0" * 64,
            received_at=1.0,
        )
    )  # fmt: skip
    reply = {"answer": "30 days", "receipt": receipt.model_dump(mode="json")}
    (site / "reply.json").write_text(json.dumps(reply))
    (site / "site.pem").write_text(parley("audit", "receipt", "key"))
    elsewhere = site / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "temporal.yaml").write_text("")
    monkeypatch.setenv("PARLEY_CONFIG", str(elsewhere / "temporal.yaml"))
    verify = ("audit", "receipt", "verify", str(site / "reply.json"))
    assert "not among the public keys" in parley(*verify, code=1)
    key = ("--key", str(site / "site.pem"))
    assert "It holds: turn 1 of conv-1" in parley(*verify, *key, "--question", "How long?")
    assert "question: this is not the question" in parley(*verify, *key, "--question", "How?", code=1)
    for other in ({"parley": reply}, {**reply, "receipt": json.dumps(reply["receipt"])}):  # OpenAI's, gRPC-Web's
        (site / "reply.json").write_text(json.dumps(other))
        assert "answer as given" in parley(*verify, *key)
    (site / "reply.json").write_text(json.dumps({**reply, "answer": "31 days"}))
    assert "answer: this is not the answer" in parley(*verify, *key, code=1)
    (site / "reply.json").write_text("{}")
    assert "it is no receipt" in parley(*verify, *key, code=1)


def test_a_receipt_is_of_the_files_too(parley: Parley, site: Path) -> None:
    """Names, texts and order; a question without its files is told that some may have come with it."""
    files = [TextFile(name="terms.txt", text="30 days\r\n"), TextFile(name="说明.md", text="退货")]
    for file in files:
        (site / file.name).write_bytes(b"\xef\xbb\xbf" + file.text.encode())  # of an editor; no part of what is sent
    receipt = Receipt(
        tenant="lantern", conversation="conv-1", turn=1, question=message_digest("How long?", files),
        answer=text_digest("30 days"), passages=passages_digest(()), audit_id=1, audit_hash="0" * 64, received_at=1.0,
    )  # fmt: skip
    (site / "receipt.json").write_text(Signer.open(load()).receipt(receipt).model_dump_json())
    verify = ("audit", "receipt", "verify", str(site / "receipt.json"))
    given = [("--file", str(site / file.name)) for file in files]
    asked = (*verify, "--question", "How long?")
    assert "question as given" in parley(*asked, *given[0], *given[1])
    assert "with --file for each file that came with it" in parley(*asked, code=1)
    assert "is of with these files" in parley(*asked, *given[1], *given[0], code=1)
    assert "Give that too, with --question" in parley(*verify, *given[0], code=2)
    assert "none.txt: No such file" in parley(*asked, "--file", str(site / "none.txt"), code=2)
    (site / "photo.txt").write_bytes(b"\xff\xd8")
    assert "it is no text that a message can bring" in parley(*asked, "--file", str(site / "photo.txt"), code=2)
