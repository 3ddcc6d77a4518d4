"""A file to write settings into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from dialogue.faults import SettingsFault
from settings.load import load
from settings.schema import Settings

Load = Callable[..., Settings]
Lines = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as ``temporal.yaml`` of the current folder, with just these variables."""
    monkeypatch.chdir(tmp_path)

    def given(text: str, environ: Mapping[str, str] | None = None) -> Settings:
        Path("temporal.yaml").write_text(dedent(text), encoding="utf-8")
        return load(environ=environ or {})

    return given


@pytest.fixture
def problems(load_text: Load) -> Lines:
    """The lines of the fault that loading a text raises."""

    def given(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(SettingsFault) as raised:
            load_text(text, environ)
        return raised.value.message.splitlines()

    return given
