"""The pages that are written out of the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from settings import explain
from settings.explain import PAGES, main, page, sentence
from settings.schema import Settings
from settings.tree import branch, setting_names


@pytest.mark.parametrize("language", PAGES)
def test_the_committed_pages_are_up_to_date(language: explain.Language, repository: Path) -> None:
    """`python -m settings.explain` writes them."""
    assert (repository / PAGES[language]).read_text(encoding="utf-8") == page(language)


@pytest.mark.parametrize("language", PAGES)
def test_every_setting_stands_on_the_page(language: explain.Language) -> None:
    """Each key of the schema heads a section, or stands in a row or among the built-in values."""
    named = set(re.findall(r"[a-z_]+", page(language)))
    assert {str(place[-1]) for place in setting_names(branch(Settings)) if place[-1] != "*"} - named == set()


def test_a_missing_chinese_sentence_is_an_error() -> None:
    """So that no setting is ever left out of the Chinese page."""

    class Novel(Settings):
        extra: int = 1
        """Something new."""

    assert sentence(Novel, "extra", "en") == "Something new."
    with pytest.raises(KeyError, match=r"no zh sentence for Novel\.extra"):
        sentence(Novel, "extra", "zh")


def test_no_sentence_is_left_over(repository: Path) -> None:
    """A setting that was taken away takes its sentence with it."""
    told = yaml.safe_load((repository / "settings/sentences.yaml").read_text(encoding="utf-8"))
    fields: set[str] = set()
    waiting = [branch(Settings)]
    while waiting:
        of = waiting.pop()
        if of.inner is not None:
            waiting.append(branch(of.inner))
        if of.model is not None:
            fields |= {of.model.__name__, *(f"{of.model.__name__}.{name}" for name in of.model.model_fields)}
            waiting += [branch(field.annotation) for field in of.model.model_fields.values()]
    assert set(told) - fields == set()


def test_check_says_what_is_out_of_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """--check writes nothing and exits 1; without it the pages are written."""
    monkeypatch.setattr(explain, "__file__", str(tmp_path / "settings" / "explain.py"))
    monkeypatch.setattr(explain, "page", lambda language: f"the page in {language}")
    (tmp_path / "docs").mkdir()
    assert main(["--check"]) == 1
    assert "docs/configuration.md, docs/configuration.zh-CN.md" in capsys.readouterr().err
    assert not list((tmp_path / "docs").iterdir())
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert (tmp_path / PAGES["zh"]).read_text(encoding="utf-8") == "the page in zh"
