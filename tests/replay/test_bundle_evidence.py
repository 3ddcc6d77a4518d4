"""What a bundle holds beside histories and rows: whole streams and the tries' records, or nothing of them in clear."""

from __future__ import annotations

import asyncio
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from dialogue.messages import TurnKey
from records.content import ContentStore
from records.database import connect_database
from records.open_token_log import open_token_log
from records.token_log import StreamEvent
from settings.layout import Layout
from settings.load import load
from tests.replay.kept import MAIL, kept_site, records_of
from tests.replay.made import edited_result, spoiled

STREAM = TurnKey(conversation="conv-normal", turn=1, tenant="default").stream
TRY = {"prompt_ids": [1, 2, 3], "candidates": [{"output_ids": [4, 5], "sampling": {}}]}
PIECES = (f"Write to {MAIL[:5]}", MAIL[5:12], f"{MAIL[12:]}.", *(" and so on" for _ in range(1000)))
"""More than one page of events, the address in three of them."""


async def _fill(folder: Path) -> tuple[list[StreamEvent], str]:
    """The stream's events as the token log gives them, and the digest of the record."""
    settings = load(folder / "temporal.yaml")
    token_log, database = open_token_log(settings.records, Layout.of(settings)), connect_database(records_of(folder))
    try:
        await token_log.publish(STREAM, "accepted", {"turn": 1})
        await token_log.open_attempt(STREAM, 1, 0, 1)
        for place, text in enumerate(PIECES):
            await token_log.append_tokens(STREAM, 1, 0, 1, place, [place], [("token", text)])
        await token_log.publish(STREAM, "final", {"answer": "".join(PIECES)})
        digest = await ContentStore(database).put("try", TRY)
        return await token_log.read(STREAM, limit=10_000), digest
    finally:
        await token_log.close()
        await database.dispose()


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[StreamEvent], str]:
    """A site with the stream of the first turn, and a history that names a record of its try."""
    monkeypatch.setenv("PARLEY_CONFIG", str(kept_site(tmp_path, "normal")))
    events, record = asyncio.run(_fill(tmp_path))
    history = spoiled(tmp_path, "normal", edited_result("generate_answer", lambda made: made.update(record=record)))
    return history, events, record


def _exported(history: Path, *options: str) -> dict[str, bytes]:
    """Ends with 4: this site has no model to spell the prompt with, and no stream of the second turn."""
    out = history.with_suffix(".zip")
    assert run(["replay", "export", "--file", str(history), "--out", str(out), *options]) == 4
    with zipfile.ZipFile(out) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def _texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["text"] for event in events if event["kind"] == "token"]


def test_a_bundle_holds_the_whole_stream_and_the_record(filled: tuple[Path, list[StreamEvent], str]) -> None:
    """Every event of it, however many pages the token log gives them in."""
    history, events, record = filled
    files = _exported(history)
    assert json.loads(files["stream/turn-1.json"]) == [asdict(event) for event in events]
    assert len(events) == len(PIECES) + 2
    assert json.loads(files[f"contents/{record}"]) == TRY


def test_a_redacted_stream_holds_no_address_cut_in_pieces(filled: tuple[Path, list[StreamEvent], str]) -> None:
    """Its placeholder is the one that the row has, over the same pieces; the record's token ids are left out."""
    history, events, record = filled
    files = _exported(history, "--redact")
    stream = json.loads(files["stream/turn-1.json"])
    (row, _) = json.loads(files["audit.json"])
    placeholder = row["input_text"][-len(MAIL) :]
    assert placeholder != MAIL
    texts = _texts(stream)
    assert "".join(texts) == "".join(PIECES).replace(MAIL, placeholder)
    assert list(map(len, texts)) == list(map(len, PIECES))
    assert [(event["id"], event["kind"]) for event in stream] == [(event.id, event.kind) for event in events]
    assert stream[-1]["data"]["answer"] == "".join(texts)
    assert f"contents/{record}" not in files
    assert not [name for name, body in files.items() if b"prompt_ids" in body]
    (left_out,) = json.loads(files["manifest.json"])["left_out"]
    assert record in left_out
