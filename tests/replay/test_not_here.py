"""What a site does not have, or cannot give now: one clear line, and what can be shown is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command

from cli.main import run
from dialogue.faults import ModelMissing
from records.archive import RunArchive
from records.content import ContentStore
from records.database import connect_database, migration_config, writing
from replay import token_runs
from replay.evidence import Evidence, evidence
from replay.token_runs import Beforehand
from replay.tokens import TokenExact
from replay.turns import Turn
from settings.load import load
from tests.replay.kept import kept_site, records_of
from tests.replay.made import HISTORIES, chain

NORMAL = str(HISTORIES / "normal.json")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With rows, and with neither model nor knowledge."""
    file = kept_site(tmp_path, "normal")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("knowledge.passages=1", "snapshot"),
        ("generation.temperature=0.9", "this site holds no prepared model and not"),
    ],
)
def test_a_rerun_that_needs_what_is_not_here_says_so(
    site: Path, change: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recorded snapshot, or the weights: exit code 1, one line."""
    assert run(["replay", "whatif", "--file", NORMAL, "--turn", "1", "--set", change]) == 1
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_verify_says_what_it_could_not_check(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the tiers that need a model; the one that needs none is checked all the same."""
    assert run(["replay", "verify", "--file", NORMAL, "--turn", "1", "--tokens", "--samples", "2"]) == 4
    said = capsys.readouterr().out
    assert "same commands  ✓" in said
    assert "token-exact    turn 1 try 1  could not be checked: " in said
    assert "statistical    turn 1  could not be checked: " in said
    assert "2 could not be checked. exit 4" in said


def test_what_cannot_be_promised_is_said_beforehand(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another engine than the recorded one: before the run, and again as the likely cause of the first difference."""

    async def verified(_held: Evidence, _turns: Sequence[Turn], beforehand: Beforehand) -> list[TokenExact]:
        beforehand(1, 1, ("torch: 2.12 when recorded, 2.13 now",))
        told = {"tokens": 201, "same": 171, "resumed_at": 154, "recorded": "of the⟦ report⟧", "today": "of the⟦ call⟧"}
        unpromised = ("torch: 2.12 when recorded, 2.13 now",)
        return [TokenExact(turn=1, try_number=1, state="differs", unpromised=unpromised, **told)]

    monkeypatch.setattr(token_runs, "verify_tokens", verified)
    assert run(["replay", "verify", "--file", NORMAL, "--turn", "1", "--tokens"]) == 3
    said = capsys.readouterr().out.splitlines()
    assert said[next(place for place, line in enumerate(said) if line.startswith("token-exact")) :] == [
        "token-exact    turn 1 try 1: cannot be promised: torch: 2.12 when recorded, 2.13 now",
        "token-exact    turn 1 try 1  differs at token 171 of 201, after the resume at 154  ✗",
        "               recorded  … of the⟦ report⟧",
        "               today     … of the⟦ call⟧",
        "               likely cause: torch: 2.12 when recorded, 2.13 now",
        "1 difference. exit 3",
    ]


def test_the_archive_is_shown_while_the_server_is_away(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one line and the exit code for what may be only a part; what is not archived either is one line."""
    monkeypatch.setenv("PARLEY_TEMPORAL__ADDRESS", "127.0.0.1:9")
    assert run(["replay", "show", "conv-normal"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    asyncio.run(_archived(records_of(site)))
    assert run(["replay", "show", "conv-normal", "--turn", "2"]) == 4
    out, err = capsys.readouterr()
    assert "turn 2 of 2" in out
    assert "no Temporal server answers at 127.0.0.1:9" in err
    assert len(err.splitlines()) == 1
    assert run(["replay", "verify", "conv-normal"]) == 4
    out, err = capsys.readouterr()
    assert "same commands  ✓" in out
    assert "Shown is what the archive has" in err


async def _archived(url: str) -> None:
    (run,) = (await chain("normal")).runs
    engine = connect_database(url)
    then = datetime.fromtimestamp(run.started_at, UTC)
    of_the_run = {"run_id": run.run_id, "workflow_type": run.workflow_type, "tenant": "default"}
    archive = RunArchive(engine, ContentStore(engine))
    await archive.archive(run.history(), **of_the_run, status="completed", started=then, closed=then)
    await engine.dispose()


async def test_a_model_that_is_not_here_is_named_with_those_that_are(site: Path) -> None:
    """By its digest."""
    async with evidence(load(site / "temporal.yaml")) as held:
        with pytest.raises(ModelMissing, match="holds no prepared model and not dddddddddddd…"):
            held.model("d" * 64)


@pytest.mark.parametrize("revision", ["0003", "0002"])
def test_a_database_that_is_being_migrated_costs_what_it_holds(
    site: Path, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables or columns that are not there yet: the audit is one line, the history is shown."""
    asyncio.run(_step_back(records_of(site), revision))
    code = 0 if revision == "0003" else 1  # find needs no table that is newer
    assert run(["replay", "find", "--text", "how long"]) == code
    err = capsys.readouterr().err
    assert len(err.splitlines()) == code
    assert run(["replay", "show", "--file", NORMAL, "--turn", "1", "--prompt", "--audit"]) == 4
    out, err = capsys.readouterr()
    assert "verdict pass" in out
    assert all(line.startswith(("records.database: ", "prompt: ")) for line in err.splitlines())
    assert ("Start the workers once: they migrate them" in err) is (revision == "0002")


async def _step_back(url: str, revision: str) -> None:
    engine = connect_database(url)
    async with writing(engine) as connection:
        await connection.run_sync(lambda sync: command.downgrade(migration_config(sync), revision))
    await engine.dispose()
