"""`parley kb`: documents in, found, and out again."""

import json
from pathlib import Path

import pytest

from cli.main import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def lexical(tmp_path, monkeypatch):
    """A knowledge base of its own in which no embedding model is asked, so that none is loaded."""
    file = tmp_path / "temporal.yaml"
    file.write_text(
        f"knowledge: {{embedding: {{languages: []}}}}\nintents: {{file: {ROOT / 'examples/help/intents.yaml'}}}\n"
    )
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    monkeypatch.chdir(tmp_path)


def test_documents_are_added_found_and_removed(tmp_path, capsys):
    """A newcomer's own text, in Chinese and English; refused files are listed with the reason and exit code 1."""
    (tmp_path / "parking.md").write_text("# Parking\n\nVisitors may park for 3 hours behind the house.\n")
    (tmp_path / "停车.md").write_text("# 停车\n\n访客可以在楼后停车3小时。\n")
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\x00")
    assert run(["kb", "add", "parking.md", "停车.md", "broken.txt"]) == 1
    out = capsys.readouterr().out
    assert "2 added · 0 there already · 1 refused" in out
    assert "refused  broken.txt" in out

    assert run(["kb", "add", "parking.md", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == ["parking.md"]

    assert run(["kb", "list"]) == 0
    assert "停车.md" in capsys.readouterr().out
    assert run(["kb", "list", "--json"]) == 0
    assert {each["name"] for each in json.loads(capsys.readouterr().out)} == {"parking.md", "停车.md"}

    assert run(["kb", "search", "访客可以停车多久?"]) == 0
    assert "停车.md:" in capsys.readouterr().out
    assert run(["kb", "search", "visitors may park behind the house", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passages"][0]["document"] == "parking.md"
    assert run(["kb", "search", "quantum chromodynamics"]) == 0
    assert "Nothing reaches 0.20" in capsys.readouterr().out

    assert run(["kb", "remove", "parking.md"]) == 0
    assert "parking.md is removed · now 1 documents" in capsys.readouterr().out
    assert run(["kb", "remove", "parking.md"]) == 1
    assert "holds no document 'parking.md'" in capsys.readouterr().err


def test_an_empty_knowledge_base_says_so(capsys):
    """And how to fill it."""
    assert run(["kb", "list"]) == 1
    assert "parley kb add" in capsys.readouterr().err


async def test_snapshots_that_kept_answers_name_stay(tmp_path, capsys):
    """The current one and the one before it too; each of the others goes with --yes, and none before."""
    import asyncio

    from records.audit import AuditLog
    from records.database import connect_database, migrate
    from tests.records.rows import a_row

    document, ids = tmp_path / "parking.md", []
    for hours in (1, 2, 3, 4):
        document.write_text(f"# Parking\n\nVisitors may park for {hours} hours behind the house.\n")
        assert await asyncio.to_thread(run, ["kb", "add", "parking.md", "--json"]) == 0
        ids.append(json.loads(capsys.readouterr().out)["snapshot"]["id"])
    url = f"sqlite+aiosqlite:///{tmp_path / 'var' / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    await AuditLog(engine).append(a_row(snapshot=ids[0]))
    await engine.dispose()
    assert await asyncio.to_thread(run, ["kb", "gc"]) == 0
    shown = capsys.readouterr().out
    assert "a kept answer names it: turn 1 of conv-1" in shown
    assert "3 stay · 1 would be removed; do it with --yes" in shown
    assert await asyncio.to_thread(run, ["kb", "gc", "--yes", "--json"]) == 0
    told = {each["id"]: (each["stays"], each["removed"], each["why"]) for each in json.loads(capsys.readouterr().out)}
    assert [told[id_][:2] for id_ in ids] == [(True, False), (False, True), (True, False), (True, False)]
    assert told[ids[3]][2] == "it is current"
    left = {each.name for each in (tmp_path / "var" / "knowledge" / "snapshots").iterdir()}
    assert left == {ids[0], ids[2], ids[3]}
    assert await asyncio.to_thread(run, ["kb", "search", "visitors may park behind the house"]) == 0
