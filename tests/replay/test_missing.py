"""Runs that a conversation had and that are not here: they are named, whatever is shown of the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from cli.replay_source import recorded_turn
from dialogue.faults import NoSuchHistory
from replay.bundle import read_bundle
from settings.load import load
from tests.replay.kept import kept_site
from tests.replay.made import HISTORIES, chain, completion_of, spoiled

FIRST, SECOND = (str(HISTORIES / f"continued-as-new.{number}.json") for number in (1, 2))


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARLEY_CONFIG", str(kept_site(tmp_path, "continued-as-new.2")))
    return tmp_path


async def test_a_chain_names_the_run_before_and_the_run_behind_that_it_lacks() -> None:
    """Each once; the whole chain lacks none, nor does one run that was asked for alone."""
    whole = await chain("continued-as-new.1", "continued-as-new.2")
    first, second = (each.run_id for each in whole.runs)
    assert whole.problems == ()
    for name, missing, there in (("continued-as-new.2", first, second), ("continued-as-new.1", second, first)):
        part = await chain(name)
        (fault,) = part.problems
        assert isinstance(fault, NoSuchHistory)
        assert f"its run {missing} is not here" in fault.message
        assert part.only(there).problems == ()
    with pytest.raises(NoSuchHistory, match=f"has no run nine here; it has {first}, {second}"):
        whole.only("nine")


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["verify"],
        ["to-test", "--turn", "3", "--out", "incidents"],
    ],
)
def test_what_is_shown_of_a_part_ends_with_4(
    site: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one line that names the missing run; alone, by its id, the run that is there is whole."""
    monkeypatch.chdir(site)
    first, second = (each.run_id for each in asyncio.run(chain("continued-as-new.1", "continued-as-new.2")).runs)
    assert run(["replay", *command, "--file", SECOND]) == 4
    out, err = capsys.readouterr()
    assert out
    (line,) = err.splitlines()
    assert first in line
    if command[0] in ("show", "verify"):
        assert run(["replay", *command, "--file", SECOND, "--run", second]) == 0
        assert capsys.readouterr().err == ""
        assert run(["replay", *command, "--file", SECOND, "--run", first]) == 1
        assert "has no run" in capsys.readouterr().err


async def test_a_turn_to_run_again_brings_the_code_of_its_history(capsys: pytest.CaptureFixture[str]) -> None:
    """For `whatif`, `why` and `diff`, which end with no less."""
    turn, code = await recorded_turn(load(), None, None, (Path(SECOND),), None)
    assert (turn.turn, code) == (3, 4)
    assert "is not here" in capsys.readouterr().err


def test_verify_counts_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the runs that are there, in its sum and in JSON; a scan takes each run by itself."""
    assert run(["replay", "verify", "--file", SECOND]) == 4
    said = capsys.readouterr().out
    assert "same commands  ✓" in said
    assert said.endswith("0 differences, 1 could not be checked. exit 4\n")
    assert run(["replay", "verify", "--file", SECOND, "--json"]) == 4
    (missing,) = json.loads(capsys.readouterr().out)["missing"]
    assert "is not here" in missing
    assert run(["replay", "verify", "--file", FIRST, "--file", SECOND]) == 0
    assert run(["replay", "scan", SECOND, "--jobs", "1"]) == 0


def test_a_bundle_lists_the_run_that_it_lacks(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And whoever makes it is told once, and whoever opens it."""
    out = site / "incident.zip"
    assert run(["replay", "export", "--file", SECOND, "--out", str(out)]) == 4
    (first, _) = asyncio.run(chain("continued-as-new.1", "continued-as-new.2")).runs
    assert any(first.run_id in each for each in read_bundle(out).manifest.absent)
    assert sum(first.run_id in line for line in capsys.readouterr().err.splitlines()) == 1
    assert run(["replay", "show", "--bundle", str(out)]) == 4
    assert first.run_id in capsys.readouterr().err


def _locked(events: list[Any]) -> None:
    """The result of a step as a site without the key has it."""
    (payload,) = completion_of("generate_answer", events)["result"]["payloads"]
    payload["metadata"]["encoding"] = "YmluYXJ5L2VuY3J5cHRlZA=="  # binary/encrypted


def _broken_off(events: list[Any]) -> None:
    del events[60:70]


@pytest.mark.parametrize(("change", "said"), [(_locked, "cannot be decoded"), (_broken_off, "events 61 to 70")])
def test_turns_that_cannot_be_read_are_not_the_same(
    tmp_path: Path, change: Callable[[list[Any]], None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands for a value that cannot be decoded equals itself, and a missing step is not one that never ran."""
    turn = f"{spoiled(tmp_path, 'normal', change)}:1"
    assert run(["replay", "diff", turn, turn]) == 4
    assert said in capsys.readouterr().err
    assert run(["replay", "diff", turn, f"{HISTORIES / 'blocked.json'}:1"]) == 4
    assert said in capsys.readouterr().err
