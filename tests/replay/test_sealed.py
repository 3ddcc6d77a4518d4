"""Exported histories of a site that encrypts: read with its keys, and told apart once a user was forgotten."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import WorkflowSerializationContext

from cli.main import run
from records.codec import EncryptionCodec
from records.database import connect_database, migrate
from records.protection import open_protection
from settings.load import load
from tests.replay.kept import records_of
from tests.replay.made import HISTORIES, document, payload, signalling, spoiled

NORMAL = str(HISTORIES / "normal.json")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its keys in a file; it takes no payloads in clear."""
    file = tmp_path / "temporal.yaml"
    file.write_text(
        "data: var\nencryption: {provider: local, accept_plain: false, cache_seconds: 0}\n"
        f"records: {{database: '{records_of(tmp_path)}'}}\ntemporal: {{address: '127.0.0.1:9'}}\n"
    )
    (tmp_path / "var").mkdir()
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    asyncio.run(migrate(records_of(tmp_path)))
    return tmp_path


async def _sealed(folder: Path) -> Path:
    """The recorded history as the server would have it."""
    engine = connect_database(records_of(folder))
    protection = open_protection(load(), engine)
    assert protection is not None
    await protection.keys.bind("conv-normal", "default", "ann")
    context = WorkflowSerializationContext(namespace="default", workflow_id="conv-normal")
    path = folder / "exported.json"
    path.write_text(json.dumps(await _encoded(document("normal"), protection.codec.with_context(context))))
    await engine.dispose()
    return path


async def _encoded(value: Any, codec: EncryptionCodec) -> Any:
    if isinstance(value, dict) and "metadata" in value and "data" in value:
        metadata = {name: base64.b64decode(each) for name, each in value["metadata"].items()}
        (made,) = await codec.encode([Payload(metadata=metadata, data=base64.b64decode(value["data"]))])
        kept = {name: base64.b64encode(each).decode() for name, each in made.metadata.items()}
        return {"metadata": kept, "data": base64.b64encode(made.data).decode()}
    if isinstance(value, dict):
        return {name: await _encoded(each, codec) for name, each in value.items()}
    return [await _encoded(each, codec) for each in value] if isinstance(value, list) else value


def test_an_encrypted_history_reads_at_its_site_until_its_user_is_forgotten(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shown and proved with the keys; without the user's it is locked, and no difference; its shape is shown."""
    path = asyncio.run(_sealed(site))
    assert "How long" not in path.read_text()
    assert run(["replay", "show", "--file", str(path), "--turn", "1"]) == 0
    assert "You have 30 days [1]." in capsys.readouterr().out
    assert run(["replay", "verify", "--file", str(path)]) == 0
    assert "same commands  ✓" in capsys.readouterr().out
    bundle = str(site / "incident.zip")
    assert run(["replay", "export", "--file", str(path), "--out", bundle]) == 4  # the audit has no row of it
    capsys.readouterr()
    assert run(["audit", "forget", "ann", "--tenant", "default", "--yes"]) == 0
    capsys.readouterr()
    assert run(["replay", "verify", "--file", str(path)]) == 4
    said = "".join(capsys.readouterr().out.split())  # folded anywhere
    assert "event1(WORKFLOW_EXECUTION_STARTED)cannotbedecoded:key" in said
    assert "wasdestroyedwhenitsuserwasforgotten.Whatitsealedisgone." in said
    assert "Givethissitethekey" not in said
    assert run(["replay", "show", "--file", str(path)]) == 4
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert "92 events  completed" in out
    assert run(["replay", "show", "--bundle", bundle, "--turn", "1"]) == 0  # who opens it needs no key
    assert "You have 30 days [1]." in capsys.readouterr().out


def test_a_history_in_clear_reads_where_no_payload_may_be_in_clear(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was recorded before the site encrypted, or was exported decoded, needs no key; nor does what a stranger
    signalled in an encoding of their own."""
    odd = spoiled(site, "odd-signals", signalling(payload(b"hi", b"text/plain")))
    for path in (NORMAL, str(odd)):
        assert run(["replay", "verify", "--file", path]) == 0
        assert "same commands  ✓" in capsys.readouterr().out
