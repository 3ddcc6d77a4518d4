"""How a model that reasons is sampled: its own defaults, and a warning where the file says otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import doctor_checks as checks
from cli.config_command import app
from settings.advice import advice
from settings.layout import Layout
from settings.load import load
from settings.schema import Settings

R1 = "model:\n  reasoning: r1\n  widths: [1024, 4096]\n"
GOOD = R1 + "generation:\n  max_new_tokens: 2048\n"


def read(folder: Path, text: str, **variables: str) -> Settings:
    (folder / "temporal.yaml").write_text(text, encoding="utf-8")
    return load(folder / "temporal.yaml", variables)


def test_r1_is_sampled_as_its_authors_advise(tmp_path: Path) -> None:
    """Where nothing else is said, in the file or in the environment; what is said holds."""
    assert (generation := read(tmp_path, R1).generation).temperature == 0.6
    assert generation.top_p == 0.95
    assert read(tmp_path, "", PARLEY_MODEL__REASONING="r1").generation.temperature == 0.6
    assert read(tmp_path, R1 + "generation: {temperature: 0.2}").generation.temperature == 0.2
    assert read(tmp_path, R1, PARLEY_GENERATION__TOP_P="0.5").generation.top_p == 0.5
    plain = read(tmp_path, "").generation
    assert (plain.temperature, plain.top_p) == (0.2, 0.9)


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        ("temperature: 0.2", "generation.temperature"),
        ("temperature: 0.8", "generation.temperature"),
        ("top_p: 0.5", "generation.top_p"),
        ("max_new_tokens: 1023", "generation.max_new_tokens"),
        ("thinking_budget: 2048", "generation.thinking_budget"),
        ("ladder: {empty: [{temperature: 0.6}, {temperature: 1.0}]}", "generation.ladder.empty[1].temperature"),
    ],
)
def test_what_is_not_advised_is_told(tmp_path: Path, said: str, setting: str) -> None:
    """One warning, at the setting; none for a model that does not reason."""
    lines = f"generation:\n  {said}\n" + ("" if "max_new" in said else "  max_new_tokens: 2048\n")
    assert [problem.setting for problem in advice(read(tmp_path, R1 + lines))] == [setting]
    assert not list(advice(read(tmp_path, R1.replace("r1", "none") + lines)))


def test_rows_too_narrow_for_its_prompt_are_told(tmp_path: Path) -> None:
    """The official template and the answer's half of the row leave nothing for passages."""
    short = GOOD.replace("max_new_tokens: 2048", "max_new_tokens: 1024")
    assert [problem.setting for problem in advice(read(tmp_path, short.replace("4096", "1536")))] == ["model.widths"]
    assert not list(advice(read(tmp_path, short.replace("4096", "2048"))))


@pytest.mark.parametrize(
    "said", ["", "  temperature: 0.5\n", "  temperature: 0.7\n", "  top_p: 1.0\n", "  top_p: 0.9\n"]
)
def test_what_is_advised_is_not(tmp_path: Path, said: str) -> None:
    """The bounds themselves, and the built-in ladder."""
    assert not list(advice(read(tmp_path, GOOD + said)))


def test_config_check_warns_and_does_not_fail(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each warning with its line; the exit code stays 0."""
    (tmp_path / "examples").symlink_to(repository / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARLEY_CONFIG", raising=False)
    Path("temporal.yaml").write_text(GOOD + "  temperature: 0.1\n", encoding="utf-8")

    def check(*arguments: str) -> int:
        return app(["check", *arguments], result_action="return_value", exit_on_error=False) or 0

    warning = "temporal.yaml:6: generation.temperature: 0.1 is outside the 0.5 to 0.7 that R1's authors advise"
    assert check() == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("temporal.yaml: everything is right.\n", f"warning: {warning}\n")
    assert check("--json") == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": [], "warnings": [warning]}


async def test_the_doctor_warns_too(tmp_path: Path) -> None:
    """A warning is no failure; a model that does not reason has no line."""

    async def lines(text: str) -> list[tuple[str, bool, bool]]:
        settings = read(tmp_path, text)
        found = await checks.sampling(checks.Site(settings, Layout.of(settings)))
        return [(line.check, line.ok, line.warning) for line in found]

    assert await lines(GOOD + "  temperature: 0.1\n") == [("generation.temperature", True, True)]
    assert await lines(GOOD) == [("sampling", True, False)]
    assert await lines("") == []
