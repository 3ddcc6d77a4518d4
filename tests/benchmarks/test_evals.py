"""`python -m evals`: which evaluations there are, and what it says of data that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals import __main__ as evals


def test_each_evaluation_is_a_program() -> None:
    """Every name leads to a file beside it."""
    assert [name for name in evals.DATA if not (evals.FOLDER / f"{name}.py").is_file()] == []


def test_absent_data_is_said_file_by_file(tmp_path: Path) -> None:
    """With its path, and with what is measured all the same; data that is there is not mentioned."""
    there, gone = tmp_path / "there.json", tmp_path / "gone.json"
    there.write_text("{}")
    lines = evals.absent(["intents"], {"intents": ("CLINC150", (there, gone))})
    assert lines == [f"intents: CLINC150 is left out, there is no {gone}; the help centre's own examples are measured"]


def test_a_failed_evaluation_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others still run, and the end names the one that failed."""
    ran: list[str] = []
    monkeypatch.setattr(evals, "_run", lambda name: bool(ran.append(name)) or name != "intents")
    assert evals.main([]) == 1
    assert ran == ["intents", "retrieval"]
    assert "failed: intents" in capfd.readouterr().err


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the names that there are."""
    with pytest.raises(SystemExit):
        evals.main(["intent"])
    assert "there is no evaluation intent; there are intents, retrieval" in capsys.readouterr().err
