"""`parley model`: published, looked at, promoted, rolled back, verified and collected, as typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cli.main import run
from cli.prepared import prepared as prepared_of
from model_runtime.build_record import BuildRecord
from model_runtime.model_store import load_manifest, verify
from model_runtime.registry import Registry, folder_of, now
from model_runtime.registry_http import HttpStore
from model_runtime.registry_store import FolderStore
from records.audit import AuditLog
from records.database import connect_database, migrate
from settings.load import load
from tests.model_runtime.conftest import TinyR1, model_folder, tiny_checkpoint, tiny_r1
from tests.model_runtime.registries import prepared
from tests.records.rows import a_row
from tests.support.file_server import Served, file_server
from tests.support.hub import serve_hub
from tests.support.raw_store import raw_store

__all__ = ["model_folder", "tiny_checkpoint", "tiny_r1"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of its own."""
    file = tmp_path / "temporal.yaml"
    file.write_text(f"intents: {{file: {ROOT / 'examples/help/intents.yaml'}}}\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    monkeypatch.setenv("COLUMNS", "160")  # a digest on one line, whatever the terminal
    monkeypatch.chdir(tmp_path)
    return tmp_path / "var"


@pytest.fixture
def registry(data_folder: Path) -> Registry:
    return Registry(FolderStore(data_folder / "registry"))


@pytest.fixture
def versions(registry: Registry, tmp_path: Path) -> list[str]:
    """Two of `tiny`; the second failed its gate."""
    digests: list[str] = []
    for weights, gate in ((b"1", None), (b"2", "failed")):
        folder = prepared(tmp_path / "made" / weights.decode(), weights)
        record = replace(
            BuildRecord.of(load_manifest(folder), by="ann", at=now()), quality={"perplexity_after": 27.1}, gate=gate
        )
        digests.append(registry.publish("tiny", folder, by="ann", record=record).digest)
    return digests


def test_an_empty_registry_says_how_to_fill_it(capsys: pytest.CaptureFixture[str]) -> None:
    """And lists nothing as JSON."""
    assert run(["model", "list"]) == 0
    assert "parley model build" in capsys.readouterr().out
    assert run(["model", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_versions_are_listed_and_shown(versions: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With aliases, files, how they were built, what was measured and the history."""
    one, two = versions
    assert run(["model", "promote", f"tiny@{one[:8]}", "prod", "--by", "ann", "--reason", "first"]) == 0
    assert capsys.readouterr().out == f"tiny@prod is {one[:12]}\n"
    assert run(["model", "list", "--json"]) == 0
    listed = {each["digest"]: each["aliases"] for each in json.loads(capsys.readouterr().out)}
    assert listed == {one: ["prod"], two: []}
    assert run(["model", "list"]) == 0
    assert one[:12] in capsys.readouterr().out
    assert run(["model", "show", "tiny@prod"]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in (one, "perplexity_after", "weights-001.safetensors", "ann · first"))
    assert run(["model", "show", f"tiny@{two}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["digest"], told["build"]["gate"], told["history"]["prod"][0]["by"]) == (two, "failed", "ann")


def test_a_failed_gate_needs_force_and_a_reason(versions: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each refusal is one line that says what to type; a wrong call ends with 2, a refused one with 1."""
    _, two = versions
    assert run(["model", "promote", f"tiny@{two}", "prod"]) == 1
    assert "its gate failed" in capsys.readouterr().err
    assert run(["model", "promote", f"tiny@{two}", "prod", "--force"]) == 2
    assert "--reason WHY" in capsys.readouterr().err
    assert run(["model", "promote", f"tiny@{two}", "prod", "--force", "--reason", "only here"]) == 0
    assert run(["model", "promote", f"tiny@{two}", "Prod"]) == 2
    assert run(["model", "show", "tiny"]) == 2
    assert run(["model", "show", "tiny@canary"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_an_alias_is_rolled_back(
    versions: list[str], registry: Registry, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """To where it was; with nothing before it, the way out is named."""
    one, _ = versions
    three = registry.publish("tiny", prepared(tmp_path / "made" / "3", b"3"), by="ann").digest
    assert run(["model", "promote", f"tiny@{one}", "prod"]) == 0
    assert run(["model", "promote", f"tiny@{three}", "prod"]) == 0
    assert run(["model", "promote", f"tiny@{three}", "prod"]) == 0
    assert "already" in capsys.readouterr().out
    assert run(["model", "rollback", "tiny"]) == 0
    assert capsys.readouterr().out == f"tiny@prod is {one[:12]} again · before {three[:12]}\n"
    assert run(["model", "rollback", "tiny", "prod", "--json"]) == 1
    assert "there was no version before" in capsys.readouterr().err


def test_every_byte_is_verified(versions: list[str], data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All versions are read to the end; what differs is named, and the exit code is 1."""
    one, two = versions
    assert run(["model", "verify"]) == 0
    (data_folder / "registry" / folder_of("tiny", one) / "config.json").write_text("[]")
    capsys.readouterr()
    assert run(["model", "verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert any(line.startswith(f"tiny@{one[:12]}") and "config.json differs" in line for line in lines)
    assert run(["model", "verify", f"tiny@{two}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["ok"] is True


async def answered(data_folder: Path, digest: str) -> None:
    url = f"sqlite+aiosqlite:///{data_folder / 'records.db'}"
    await migrate(url)
    engine = connect_database(url)
    await AuditLog(engine).append(a_row(model_digest=digest))
    await engine.dispose()


async def test_what_kept_answers_name_stays(
    versions: list[str], data_folder: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The audit is asked; without --yes nothing is removed."""
    import asyncio

    one, two = versions
    await answered(data_folder, one)
    assert await asyncio.to_thread(run, ["model", "gc"]) == 0
    shown = capsys.readouterr().out
    assert "a kept answer names it: turn 1 of" in shown
    assert "do it with --yes" in shown
    assert len(registry.index().models["tiny"].versions) == 2
    assert await asyncio.to_thread(run, ["model", "gc", "--yes", "--json"]) == 0
    told = {each["digest"]: each["removed"] for each in json.loads(capsys.readouterr().out)}
    assert told == {one: False, two: True}
    assert list(registry.index().models["tiny"].versions) == [one]


def test_a_model_is_built_and_published(
    tiny_checkpoint: Path, registry: Registry, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the record of how; nothing is left beside the registry. Building it again publishes nothing new."""
    line = ["model", "build", str(tiny_checkpoint), "--name", "tiny", "--method", "int4", "--by", "ann"]
    assert run([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new"]
    record = registry.record("tiny", told["digest"])
    assert record is not None
    assert (record.method, record.built_by, record.quality, record.gate) == ("int4", "ann", None, None)
    assert 0 < record.bytes_after < record.bytes_before
    registry.verify("tiny", told["digest"])
    assert not [path for path in (data_folder / "cache" / "builds").iterdir() if path.is_dir()]
    assert run(line) == 0
    assert "was there already" in capsys.readouterr().out


def test_a_build_that_lost_too_much_is_kept_and_not_promoted(
    tiny_r1: TinyR1, registry: Registry, data_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Measured on a text of the caller's, against the same model in bf16."""
    text = tmp_path / "held-out.txt"
    text.write_text("The lighthouse keeper climbed the stairs and lit the lamp. " * 200)
    line = ["model", "build", str(tiny_r1.checkpoint), "--name", "tiny", "--method", "int8", "--held-out", str(text)]
    assert run([*line, "--allowance", "-0.9"]) == 0
    shown = capsys.readouterr().out
    assert "not promoted without --force" in shown
    (digest,) = registry.index().models["tiny"].versions
    record = registry.record("tiny", digest)
    assert record is not None
    assert record.gate == "failed"
    assert record.quality is not None
    assert record.quality["perplexity_before"] > 1
    assert run(["model", "promote", f"tiny@{digest[:12]}", "prod"]) != 0
    assert run([*line[:-1], str(tmp_path / "nowhere")]) != 0
    assert "--held-out: " in capsys.readouterr().err


def test_a_prepared_model_is_pulled_into_the_registry(
    registry: Registry,
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the token of the environment, which is no setting and in no message; a hub's token is not shown to it."""
    made = prepared(tmp_path / "made")
    monkeypatch.setenv("HF_TOKEN", "hub-secret")
    with file_server() as server:
        server.files = {f"/tiny/{file.name}": Served(file.read_bytes()) for file in made.iterdir()}
        server.token = "model-secret"
        line = ["model", "pull", f"{server.url}/tiny"]
        assert run(line) == 1
        assert "PARLEY_MODEL_TOKEN" in (told := capsys.readouterr().err)
        assert "hub-secret" not in told
        assert [asked for asked in server.asked if "authorization" in asked.headers] == []
        monkeypatch.setenv("PARLEY_MODEL_TOKEN", "model-secret")
        assert run([*line, "--by", "ann", "--name", "mine"]) == 0
        told = capsys.readouterr()
        assert "secret" not in told.out + told.err
        assert run([*line, "--name", "mine", "--json"]) == 0
    digest = load_manifest(made).digest
    assert json.loads(capsys.readouterr().out) == {"name": "mine", "digest": digest, "new": False}
    registry.verify("mine", digest)
    assert not [path for path in (data_folder / "checkpoints").iterdir() if path.is_dir()]


@pytest.mark.parametrize("held", [None, "", "two tokens", b"\xff"])
def test_a_token_file_that_holds_no_token_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], held: str | bytes | None
) -> None:
    """By its setting, without what it holds."""
    file = tmp_path / "token"
    if held is not None:
        file.write_bytes(held if isinstance(held, bytes) else held.encode())
    with (tmp_path / "temporal.yaml").open("a") as settings:
        settings.write("pull: {token_file: token}\n")
    assert run(["model", "pull", "http://127.0.0.1:9/tiny"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pull.token_file: ")
    assert "two tokens" not in told


def test_a_checkpoint_is_pulled_from_a_hub_and_built(
    tiny_checkpoint: Path,
    data_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the pull says that it is to be built; what was left out is told with the reason."""
    files = {file.name: file.read_bytes() for file in tiny_checkpoint.iterdir()} | {"old.bin": b"pickle"}
    with file_server() as server:
        serve_hub(server, "lab/tiny", "v1", files)
        server.token = "hub-secret"
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", "hub-secret")
        assert run(["model", "pull", "lab/tiny@v1"]) == 0
        told = capsys.readouterr().out
        assert run(["model", "pull", "lab/tiny@v2"]) == 1
        assert "404" in capsys.readouterr().err
    assert "left out  old.bin: refused: it runs code when it is read" in told
    (line,) = [line for line in told.splitlines() if line.startswith("Build it: parley ")]
    assert run(line.removeprefix("Build it: parley ").split()) == 0
    assert "is published" in capsys.readouterr().out


def test_a_registry_can_be_an_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the token of the environment; without it, the message names the variable."""
    with raw_store(tmp_path / "store", token="store-secret") as server:
        with (tmp_path / "temporal.yaml").open("a") as settings:
            settings.write(f"registry: {{location: '{server.url}'}}\n")
        assert run(["model", "list"]) == 1
        assert "PARLEY_REGISTRY_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("PARLEY_REGISTRY_TOKEN", "store-secret")
        registry = Registry(HttpStore(server.url, token="store-secret"))
        digest = registry.publish("tiny", prepared(tmp_path / "made"), by="ann").digest
        for line in (f"promote tiny@{digest} prod", "show tiny@prod", "verify", "list", "gc --yes"):
            assert run(["model", *line.split()]) == 0
        assert "prod is set to it" in capsys.readouterr().out


def test_what_is_no_source_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With both that are."""
    assert run(["model", "pull", "lab/tiny"]) == 2
    assert "owner/name@revision" in capsys.readouterr().err


def test_prepare_fetches_what_the_settings_name(
    versions: list[str], data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it was published; then it stands there for `parley up`, and gc leaves it alone."""
    one, _ = versions
    with (tmp_path / "temporal.yaml").open("a") as settings:
        settings.write(f"model: {{source: 'registry:tiny@{one[:8]}', name: mine}}\n")
        settings.write("knowledge: {embedding: {languages: []}}\n")
    assert run(["prepare", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert next(line["text"] for line in lines if line.get("done")).startswith("fetched 0 s · ")
    assert verify(data_folder / "models" / "mine-int8").digest == one
    found = prepared_of(load())
    assert found is not None
    assert found.models[0].startswith("ready · ")
    assert run(["model", "gc"]) == 0
    shown = capsys.readouterr().out
    assert "this site's model.source names it" in shown
    assert "1 stay · 1 of" in shown
