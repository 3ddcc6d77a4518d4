"""An exported bundle: read again anywhere, whole or refused, and with personal data replaced where that was asked."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.main import run
from dialogue.faults import BundleBroken
from dialogue.messages import TextFile, TurnKey, message_digest, text_digest
from records.audit import AuditLog
from records.audit_exports import AuditExports, Export
from records.database import connect_database
from records.protection import open_protection
from records.signing import Signer, Verifier
from records.token_log_sqlite import SqliteTokenLog
from replay import bundling
from replay.bundle import Bundle, Manifest, pack, read_bundle
from replay.bundling import Gathered, gather
from replay.redaction import Redactor
from settings.load import load
from tests.replay.kept import ADDRESS, MAIL, kept_site, records_of
from tests.replay.made import HISTORIES, document, spoiled, story


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with the recorded conversation's rows."""
    monkeypatch.setenv("PARLEY_CONFIG", str(kept_site(tmp_path, "normal")))
    return tmp_path


async def _noted(url: str, tenant: str, user: str = "ann") -> list[Export]:
    database = connect_database(url)
    try:
        return await AuditExports(database, AuditLog(database)).holding(tenant, user)
    finally:
        await database.dispose()


def _export(site: Path, *options: str, history: Path = HISTORIES / "normal.json") -> Path:
    """Ends with 4: this site has neither its try records nor its stream."""
    out = site / "incident.zip"
    assert run(["replay", "export", "--file", str(history), "--out", str(out), *options]) == 4
    return out


def _with_mail(folder: Path) -> Path:
    """The history as it would be if each message had ended with an address: wherever it or its digest stands."""
    turns = asyncio.run(story("normal")).turns
    changes = {each.said: f"{each.said} {MAIL}" for each in turns}
    changes |= {text_digest(was): text_digest(is_) for was, is_ in changes.items()}

    def edit(events: list[Any]) -> None:
        for payload in _payloads(events):
            text = base64.b64decode(payload["data"]).decode()
            for was, is_ in changes.items():
                text = text.replace(was, is_)
            payload["data"] = base64.b64encode(text.encode()).decode()

    return spoiled(folder, "normal", edit)


def _payloads(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and "data" in value and "metadata" in value:
        yield cast("dict[str, Any]", value)
    elif isinstance(value, dict | list):
        for each in cast("Any", value.values() if isinstance(value, dict) else value):
            yield from _payloads(each)


def test_a_bundle_is_read_with_nothing_else(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No settings, no records: its histories replay and its row is shown; who forgets the user is told of the file."""
    out = _export(site)
    said, missing = capsys.readouterr()
    assert "incident.zip: 2 turns" in said
    assert "stream/turn-1.json: the token log has it no more" in missing
    tenant = asyncio.run(story("normal")).tenant
    assert [(n.first, n.last, n.place) for n in asyncio.run(_noted(records_of(site), tenant))] == [(1, 2, str(out))]
    assert out.stat().st_mode & 0o077 == 0
    assert run(["replay", "export", "--file", str(HISTORIES / "normal.json"), "--out", str(out)]) == 2
    capsys.readouterr()

    (site / "var" / "records.db").unlink()
    monkeypatch.setenv("PARLEY_CONFIG", str(site / "nowhere.yaml"))
    assert run(["replay", "verify", "--bundle", str(out)]) == 0
    said = capsys.readouterr().out
    assert "files as signed with" in said
    assert "same commands  ✓" in said
    assert run(["replay", "show", "--bundle", str(out), "--turn", "2", "--audit", "--json"]) == 0
    assert MAIL in json.loads(capsys.readouterr().out)["audit"]["row"]["input_text"]
    assert run(["replay", "show", "--bundle", str(out), "--turn", "1", "--prompt"]) == 4
    said, missing = capsys.readouterr()
    assert "it holds no prompts/turn-1.txt" in missing
    assert "verdict pass" in said
    for wrong in (["--tokens"], ["--file", str(out)], ["--key", str(site / "none.pem")]):
        assert run(["replay", "verify", "--bundle", str(out), *wrong]) == 2
    assert run(["replay", "show", "conv-other", "--bundle", str(out)]) == 2
    assert "holds conv-normal and not conv-other" in capsys.readouterr().err


def test_a_row_that_cannot_be_shown_is_said_to_be_absent(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And `show --audit` shows the turn all the same."""
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE interaction_logs SET verdict = 'fine' WHERE turn = 2")
    database.close()
    out = _export(site)
    assert re.search(r"audit\.json: audit row \d: verdict: not as it was written", capsys.readouterr().err)
    assert run(["replay", "show", "--bundle", str(out), "--turn", "1", "--audit"]) == 0
    capsys.readouterr()
    assert run(["replay", "show", "--file", str(HISTORIES / "normal.json"), "--turn", "2", "--audit"]) == 4
    said, missing = capsys.readouterr()
    assert "verdict: not as it was written" in missing
    assert "verdict pass" in said


def test_a_stream_that_does_not_open_is_said_to_be_absent(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a site that encrypts, turn 1's is in clear; turn 2's is kept beside that."""
    monkeypatch.setenv("PARLEY_ENCRYPTION__PROVIDER", "local")
    asyncio.run(_streams(site / "var" / "token_log.db"))
    out = _export(site)
    assert "stream/turn-1.json: conv-normal/0001: its log holds an entry in clear" in capsys.readouterr().err
    with zipfile.ZipFile(out) as packed:
        assert [event["data"] for event in json.loads(packed.read("stream/turn-2.json"))] == [{"text": "sealed"}]
        assert "stream/turn-1.json" not in packed.namelist()


def test_there_is_no_bundle_of_who_was_forgotten_while_it_was_gathered(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor a note of one; who was forgotten before stands in what is left of them, and the bundle is written."""
    monkeypatch.setenv("PARLEY_ENCRYPTION__PROVIDER", "local")
    tenant = asyncio.run(story("normal")).tenant
    asyncio.run(_key_and_its_end(tenant, end=False))

    async def forgotten(*given: Any, **more: Any) -> Gathered:
        found = await gather(*given, **more)
        await _key_and_its_end(tenant)
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(bundling, "gather", forgotten)
        out = site / "incident.zip"
        assert run(["replay", "export", "--file", str(HISTORIES / "normal.json"), "--out", str(out)]) == 1
    assert "incident.zip: a user whose texts it was to hold was forgotten meanwhile" in capsys.readouterr().err
    assert not out.exists()
    assert asyncio.run(_noted(records_of(site), tenant)) == []
    assert _export(site) == out


async def _key_and_its_end(tenant: str, *, end: bool = True) -> None:
    """Of ann, in the records of the settings."""
    protection = open_protection(load())
    assert protection is not None
    await protection.keys.of_user(tenant, "ann")
    if end:
        assert (await protection.keys.destroy(tenant, "ann")).keys == 1


async def _streams(path: Path) -> None:
    protection = open_protection(load())
    assert protection is not None
    for turn, keys, text in ((1, None, "in clear"), (2, protection.keys, "sealed")):
        log = SqliteTokenLog(path, keys=keys)
        await log.publish(
            TurnKey(conversation="conv-normal", turn=turn, tenant="default").stream, "step", {"text": text}
        )
        await log.close()


def test_a_damaged_row_is_named_and_shown_as_far_as_it_goes(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In what the bundle has not, and where the row is opened."""
    with sqlite3.connect(site / "var" / "records.db") as database:
        database.execute("UPDATE interaction_logs SET citations = '[' WHERE turn = 1")
    database.close()
    out = _export(site)
    missing = capsys.readouterr().err
    assert "not in it: audit.json: damaged: turn 1 of conv-normal (row 1 of tenant" in missing
    assert "damaged: turn 2" not in missing
    for which in (["--bundle", str(out)], ["--file", str(HISTORIES / "normal.json")]):
        assert run(["replay", "show", *which, "--turn", "1", "--audit"]) == 0
        shown = capsys.readouterr().out
        assert MAIL in shown
        assert re.search(r"damaged\s+citations: not as written", shown)


def test_a_redacted_bundle_still_replays(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither mail nor address nor user is in any file of it; the same value has the same placeholder."""
    history = _with_mail(site)
    out = _export(site, "--redact", history=history)
    texts = _texts(out)
    assert not [text for text in texts if MAIL in text or ADDRESS in text]
    placeholder = "email-1".ljust(len(MAIL), "_")
    assert sum(placeholder in text for text in texts) > 10
    audit = json.loads(zipfile.ZipFile(out).read("audit.json"))
    assert [row["input_text"].endswith(placeholder) for row in audit] == [True, True]
    assert {(row["user_id"], row["ip_address"]) for row in audit} == {("user-1", "address-1")}
    capsys.readouterr()
    assert run(["replay", "verify", "--bundle", str(out)]) == 0
    assert "redacted" in capsys.readouterr().out


def _texts(bundle: Path) -> list[str]:
    """Each of its files, and what stands in base64 in its history."""
    with zipfile.ZipFile(bundle) as packed:
        texts = [name + packed.read(name).decode() for name in packed.namelist()]
        kept = json.loads(packed.read("histories/1.json"))
    packed_texts = [text for each in _payloads(kept) for text in (each["data"], *each["metadata"].values())]
    return texts + [base64.b64decode(each).decode() for each in packed_texts]


def test_no_id_and_no_event_of_a_redacted_bundle_names_a_person(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The conversation's id and a message's, who sent and ended it and why, names and values of a foreign caller; where
    an identifier stood there is one, so that the history still replays."""
    whose, message = "jane.doe@example.com", document("normal")["events"][4]
    accepted = message["workflowExecutionUpdateAcceptedEventAttributes"]["protocolInstanceId"]
    plain = {"encoding": base64.b64encode(b"binary/plain").decode(), "key": base64.b64encode(whose.encode()).decode()}
    foreign = {"metadata": plain, "data": base64.b64encode(whose.encode()).decode()}

    def edit(events: list[Any]) -> None:
        named = {"conv-normal": whose, accepted: f"m:{whose}"}
        for payload in _payloads(events):
            payload["data"] = _renamed(base64.b64decode(payload["data"]).decode(), named, packed=True)
        events[:] = json.loads(_renamed(json.dumps(events[:88]), named))
        events[0]["workflowExecutionStartedEventAttributes"] |= {"memo": {"fields": {whose: foreign}}}
        signal = {"signalName": f"to {whose}", "identity": whose, "input": {"payloads": [foreign]}}
        ended = {"reason": f"{whose} complained", "identity": whose}
        events += [
            _event(89, "WORKFLOW_EXECUTION_SIGNALED", workflowExecutionSignaledEventAttributes=signal),
            _event(90, "WORKFLOW_EXECUTION_TERMINATED", workflowExecutionTerminatedEventAttributes=ended),
        ]

    out = _export(site, "--redact", history=spoiled(site, "normal", edit))
    assert not [text for text in _texts(out) if "jane" in text]
    placeholder = "email-1".ljust(len(whose), "_")
    history = json.loads(zipfile.ZipFile(out).read("histories/1.json"))
    ended = history["events"][-1]["workflowExecutionTerminatedEventAttributes"]
    assert ended == {"reason": f"{placeholder} complained", "identity": placeholder}
    assert read_bundle(out).manifest.conversation == placeholder
    capsys.readouterr()
    assert run(["replay", "verify", "--bundle", str(out)]) == 0
    assert run(["replay", "show", "--bundle", str(out), "--turn", "1", "--json"]) == 0
    assert f"m:{placeholder}" in capsys.readouterr().out


def _renamed(text: str, names: dict[str, str], *, packed: bool = False) -> str:
    for was, is_ in names.items():
        text = text.replace(was, is_)
    return base64.b64encode(text.encode()).decode() if packed else text


def _event(number: int, kind: str, **inside: Any) -> dict[str, Any]:
    return {"eventId": str(number), "eventTime": "2026-11-24T02:52:44Z", "eventType": f"EVENT_TYPE_{kind}", **inside}


def test_everybody_whose_texts_it_holds_is_told_of_a_bundle(site: Path) -> None:
    """Also who has no row: a turn that waits or still runs, one whose row the retention removed, a judgement."""

    def edit(events: list[Any]) -> None:
        said = [each for each in _payloads(events) if b'"user":"anonymous"' in base64.b64decode(each["data"])]
        for payload in said[-4:]:
            text = base64.b64decode(payload["data"]).decode().replace('"user":"anonymous"', '"user":"bob"')
            payload["data"] = base64.b64encode(text.encode()).decode()

    out = _export(site, history=spoiled(site, "normal", edit))
    found = {user: asyncio.run(_noted(records_of(site), "default", user)) for user in ("ann", "anonymous", "bob")}
    assert {user: [(n.first, n.last, n.place) for n in noted] for user, noted in found.items()} == {
        "ann": [(1, 2, str(out))],  # whose rows they are
        "anonymous": [(0, 0, str(out))],
        "bob": [(0, 0, str(out))],
    }


def _bundle(folder: Path, signer: Signer) -> Path:
    manifest = Manifest(
        conversation="conv-1", tenant="default", turns=1, exported_at="", parley="1", redacted=False, key="",
        runs=(), files={},
    )  # fmt: skip
    path = folder / "small.zip"
    path.write_bytes(pack(manifest, {"audit.json": b"[]" * 200, "config.yaml": b"data: var\n"}, signer))
    return path


def _again(path: Path, change: dict[str, bytes | None]) -> Path:
    """Packed again with other files, as somebody would who wants to have it otherwise."""
    with zipfile.ZipFile(path) as packed:
        files: dict[str, bytes | None] = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, body in (files | change).items():
            if body is not None:
                packed.writestr(name, body)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audit.json": b"[]"}, "audit.json was changed after it was signed"),
        ({"audit.json": None}, "audit.json is in its manifest and not in it"),
        ({"more.json": b"[]"}, "more.json is not in its manifest"),
        ({"manifest.json": b"{}"}, "manifest.json cannot be read"),
        ({"manifest.sig": b"AAAA"}, "manifest.json is not as manifest.sig signed it"),
        ({"manifest.sig": None}, "manifest.sig is not in it"),
        ({"public-key.pem": b"nothing"}, "public-key.pem holds no key"),
        (
            {"public-key.pem": Signer([Ed25519PrivateKey.generate()]).public_pem().encode()},
            "public-key.pem is not the key",
        ),
    ],
)
def test_what_was_changed_is_named(tmp_path: Path, change: dict[str, bytes | None], said: str) -> None:
    """One fault that names the file."""
    path = _again(_bundle(tmp_path, Signer([Ed25519PrivateKey.generate()])), change)
    with pytest.raises(BundleBroken, match=said) as raised:
        read_bundle(path)
    assert "\n" not in raised.value.message


def test_a_bundle_that_another_signed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever changes everything and signs it again has another key."""
    mine, other = (Signer([Ed25519PrivateKey.generate()]) for _ in range(2))
    path = _bundle(tmp_path, other)
    assert read_bundle(path, Verifier.of_pem(other.public_pem().encode(), "key")).manifest.key == other.id
    (tmp_path / "key.pem").write_text(mine.public_pem())
    assert run(["replay", "verify", "--bundle", str(path), "--key", str(tmp_path / "key.pem")]) == 1
    assert "which is not among the public keys given" in capsys.readouterr().err


def test_no_changed_byte_is_read_as_something_else(tmp_path: Path) -> None:
    """Of 400 bytes, flipped one at a time: refused, or (of the zip's own dates and the like) the same content."""
    path = _bundle(tmp_path, Signer([Ed25519PrivateKey.generate()]))
    whole = path.read_bytes()
    contents = _contents(read_bundle(path))
    chosen, refused = random.Random(1), 0
    for place in chosen.sample(range(len(whole)), min(400, len(whole))):
        changed = bytearray(whole)
        changed[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(changed)
        try:
            assert _contents(read_bundle(path)) == contents
        except BundleBroken:
            refused += 1
    assert refused > 200


def _contents(bundle: Bundle) -> tuple[Any, ...]:
    return bundle.manifest, {name: bundle.text(name) for name in bundle.manifest.files}


def test_redaction_keeps_length_and_digests_and_knows_what_was_cut_off() -> None:
    """Spans still point where they did; a recorded SHA-256 of a text becomes that of the text as it is now."""
    text = f"Write to {MAIL} or call +44 20 7946 0958."
    history = document("normal") | {"events": [{"input": {"payloads": [_payload({"text": text, "user": "ann"})]}}]}
    others = [text_digest(text), "Write to ann.lee@exam…", MAIL.upper()]
    redactor = Redactor()
    redactor.learn(history)
    redactor.learn(others)
    (payload,) = redactor.replaced(history)["events"][0]["input"]["payloads"]
    said = json.loads(base64.b64decode(payload["data"]))
    assert said["user"] == "user-1"
    assert len(said["text"]) == len(text)
    assert said["text"].startswith("Write to email-1__")
    digest, cut, shouted = redactor.replaced(others)
    assert digest == text_digest(said["text"])
    assert cut == said["text"][: len(cut) - 1] + "…"
    assert shouted == said["text"][9 : 9 + len(MAIL)]


@pytest.mark.parametrize("said", ["text", "question", "messages"])
def test_the_digest_of_a_message_with_files_is_that_of_what_stands_there_now(said: str) -> None:
    """Of the message's text and its files' together, whichever of them held something."""
    text, file = "Whose is it?", TextFile(name="letter.txt", text=f"Write to {MAIL}.")
    value = {said: [{"role": "user", "content": text}] if said == "messages" else text, "files": [file.model_dump()]}
    redactor, digest = Redactor(), message_digest(text, [file])
    redactor.learn(value)
    made = redactor.replaced([value, digest])
    assert MAIL not in json.dumps(made)
    assert made[1] == message_digest(text, [TextFile.model_validate(made[0]["files"][0])]) != digest


def _payload(value: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(value).encode()).decode()
    return {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": data}
