"""`parley replay` on the command line, from files: what is printed and with which code it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import run
from tests.replay.made import HISTORIES, spoiled

NORMAL, BLOCKED = str(HISTORIES / "normal.json"), str(HISTORIES / "blocked.json")


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "temporal.yaml"
    file.write_text("data: var\n")
    monkeypatch.setenv("PARLEY_CONFIG", str(file))


def test_show_reads_top_to_bottom(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps, attempts that failed, rungs, who decided; nothing is wider than the screen."""
    assert run(["replay", "show", "--file", str(HISTORIES / "rung-engine-lost.json"), "--events", "--passages"]) == 0
    said = capsys.readouterr().out
    for expected in (
        "conversation conv-rung-engine-lost  turn 1 of 1",
        "├ generate_answer 1.2",
        "engine-lost: the script says outage",
        "try 2  engine lost → model fallback",
        "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
        "[1] Returns § Online orders (en/returns.md:0-17) 0.80",
        "open: --prompt  --reasoning  --steps  --audit",
    ):
        assert expected in said
    assert max(map(len, said.splitlines())) <= 100
    assert run(["replay", "show", "--file", str(HISTORIES / "human-resolved.json"), "--turn", "1"]) == 0
    assert "person  edit by ann" in capsys.readouterr().out
    assert run(["replay", "show", "--file", str(HISTORIES / "rung-language-unknown.json"), "--turn", "1"]) == 0
    said = capsys.readouterr().out
    assert "quote_passages 1.1" in said
    assert "try 1  language unknown → quote the passages" in said


def test_show_opens_what_went_into_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Input and result as they stand in the history; in JSON they are there unasked, and once."""
    assert run(["replay", "show", "--file", NORMAL, "--turn", "1", "--steps"]) == 0
    said = capsys.readouterr().out
    assert "recognise_intent 1 · input" in said
    assert '"intent": "return_item"' in said[said.index("recognise_intent 1 · result") :]
    assert run(["replay", "show", "--file", NORMAL, "--turn", "1", "--steps", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "steps" not in told
    assert [step["result"] is not None for step in told["turn"]["steps"]] == [True] * 6


def test_show_without_a_turn_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Both runs of the chain as one story; JSON has it all."""
    files = [f"--file={HISTORIES / name}" for name in ("continued-as-new.1.json", "continued-as-new.2.json")]
    assert run(["replay", "show", *files]) == 0
    said = capsys.readouterr().out
    assert "continued as new" in said
    assert "And for gifts?" in said
    assert run(["replay", "show", *files, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [turn["turn"] for turn in told["turns"]] == [1, 2, 3]


def test_show_tells_what_is_there_of_a_broken_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The problem on standard error, the turn on standard output, exit code 4."""
    path = spoiled(tmp_path, "blocked", lambda events: events.pop(8))
    assert run(["replay", "show", "--file", str(path)]) == 4
    out, err = capsys.readouterr()
    assert "event 9 is missing" in err
    assert len(err.splitlines()) == 1
    assert "verdict block" in out


def test_verify_names_its_tier_and_ends_with_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 the same, 3 differs, and the first divergence below the line."""
    assert run(["replay", "verify", "--file", NORMAL]) == 0
    assert "history-exact  conv-normal/run 1  2 turns  92 events  same commands  ✓" in capsys.readouterr().out
    path = spoiled(tmp_path, "normal", lambda events: events.pop(8))
    assert run(["replay", "verify", "--file", str(path)]) == 3
    said = capsys.readouterr().out
    assert "✗" in said
    assert said.splitlines()[-1] == "1 difference. exit 3"
    assert run(["replay", "verify", "--file", str(path), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["history_exact"][0]["state"] == "differs"


def test_tokens_without_the_records_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """They are kept at the site, and not in the history; a look does not make them."""
    assert run(["replay", "verify", "--file", NORMAL, "--tokens"]) == 1
    assert "records.db is not there" in capsys.readouterr().err


def test_diff_and_scan_and_to_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From files alone."""
    assert run(["replay", "diff", f"{NORMAL}:1", f"{NORMAL}:1"]) == 0
    assert "the same" in capsys.readouterr().out
    assert run(["replay", "diff", f"{NORMAL}:1", BLOCKED]) == 3
    assert "verdict  pass → block" in capsys.readouterr().out
    report = tmp_path / "report.xml"
    assert run(["replay", "scan", NORMAL, BLOCKED, "--jobs", "1", "--junit", str(report)]) == 0
    assert "same 2 · differ 0 · not checked 0" in capsys.readouterr().out
    assert 'tests="2"' in report.read_text()
    assert run(["replay", "to-test", "--file", NORMAL, "--turn", "2", "--out", str(tmp_path / "incidents")]) == 0
    assert (tmp_path / "incidents" / "test_conv_normal_turn_2.py").is_file()
    capsys.readouterr()
    assert run(["replay", "to-test", "--file", NORMAL, "--turn", "1", "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["fixture"]).is_file()
    assert Path(told["test"]).is_file()


def test_a_report_that_cannot_be_written_costs_no_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found is printed before; the line behind it names the file."""
    report = tmp_path / "report.xml"
    report.symlink_to(tmp_path / "gone" / "report.xml")
    assert run(["replay", "scan", NORMAL, "--jobs", "1", "--junit", str(report)]) == 2
    out, err = capsys.readouterr()
    assert "same 1 · differ 0 · not checked 0" in out
    assert "report.xml cannot be written (No such file or directory)" in err


def test_what_is_not_whole_cannot_be_checked_and_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that breaks off: 4 for both, with the same line; one that is no history ends with 1."""
    path = tmp_path / "h.json"
    text = Path(NORMAL).read_text()
    path.write_text(text[: len(text) // 2])
    assert run(["replay", "verify", "--file", str(path)]) == 4
    assert "breaks off at line" in " ".join(capsys.readouterr().out.split())
    assert run(["replay", "show", "--file", str(path), "--turn", "1"]) == 4
    out, err = capsys.readouterr()
    assert "it breaks off at line" in err
    assert "receive_input 1.1" in out
    path.write_text("{}")
    assert run(["replay", "show", "--file", str(path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show"], "conversation: name one"),
        (["show", "--file", "/no/such.json"], "no such file or folder"),
        (["show", "--file", NORMAL, "--turn", "7"], "has no turn 7 here; it has 1, 2"),
        (["show", "--file", NORMAL, "--file", BLOCKED], "the files hold conv-normal, conv-blocked"),
        (["scan"], "give files or folders, or one of"),
        (["scan", NORMAL, "--query", "x"], "give files or folders, or one of"),
        (["scan", "--since", "yesterday"], "'yesterday' is no time"),
        (["scan", "/no/such.json", "--junit", str(HISTORIES)], "histories is a folder. Name a file."),
        (["scan", "/no/such.json", "--junit", "/no/such/report.xml"], "there is no folder /no/such. Make it"),
        (
            ["to-test", "--file", NORMAL, "--turn", "1", "--expect", "fine"],
            "gives no verdict 'fine'. Name one of pass,",
        ),
        (["to-test", "--file", NORMAL, "--turn", "1", "--out", NORMAL], "normal.json cannot be written (File exists)"),
        (["find", "--since", "yesterday"], "'yesterday' is no time"),
        (["diff", f"{NORMAL}:1"], "give the turn to compare with, or --rerun"),
        (["diff", f"{NORMAL}:1", BLOCKED, "--rerun"], "give the turn to compare with, or --rerun"),
        (["whatif", "--file", NORMAL], "give at least one of --model"),
        (["whatif", "--file", NORMAL, "--set", "gateway.port=1"], "with one of generation.temperature"),
        (
            ["whatif", "--file", NORMAL, "--set", "knowledge.passages=many"],
            "knowledge.passages: must be a whole number",
        ),
        (["whatif", "--file", NORMAL, "--set", "knowledge.passages=.inf"], "must be a finite number, but is inf"),
        (["whatif", "--file", NORMAL, "--set", "knowledge.passages=-1"], "must be at least 1, but is -1"),
        (["whatif", "--file", NORMAL, "--set", "knowledge.threshold=.nan"], "must be a finite number, but is nan"),
        (["whatif", "--file", NORMAL, "--set", "intents.threshold=2"], "intents.threshold: must be at most 1"),
        (["whatif", "--file", NORMAL, "--set", "intents.threshold=null"], "must be a number, but is empty"),
        (["whatif", "--file", NORMAL, "--set", "generation.seed=2026-13-40"], "the value cannot be read"),
        (["fork", "conv-1", "--turn", "1", "--by", "ann", "--why", " "], "say why"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, no traceback, nothing on standard output."""
    assert run(["replay", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert len([line for line in err.splitlines() if not line.startswith("See `parley")]) == 1
