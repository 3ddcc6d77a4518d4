"""What holds for any settings and any typing error."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from dialogue.faults import SettingsFault
from settings.load import load
from settings.origins import Reference
from settings.schema import Settings
from settings.show import as_yaml
from settings.tree import branch, setting_names
from tests.settings.strategies import any_settings

_KEYS = sorted(place for place in setting_names(branch(Settings)) if place[-1] != "*")


def _loaded(text: str, environ: dict[str, str] | None = None) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "temporal.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file, environ or {})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_settings())
def test_settings_written_as_yaml_load_to_the_same(valid: Settings) -> None:
    """Any valid settings, written and read: the same; and again as `parley config show` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "temporal.yaml"
        file.write_text(yaml.safe_dump(valid.model_dump(mode="json")), encoding="utf-8")
        first = load(file, {})
        file.write_text(as_yaml(first), encoding="utf-8")
        assert load(file, {}) == first
        assert first.data == Path(folder) / valid.data
        assert _without_paths(first) == _without_paths(valid)


def _without_paths(value: Any) -> Any:
    if isinstance(value, BaseModel):
        marked = {name for name, field in type(value).model_fields.items() if Reference in map(type, field.metadata)}
        return {name: _without_paths(getattr(value, name)) for name in type(value).model_fields if name not in marked}
    if isinstance(value, dict):
        return {name: _without_paths(below) for name, below in value.items()}
    if isinstance(value, tuple):
        return [_without_paths(below) for below in value]
    return None if isinstance(value, Path) else value


@st.composite
def typing_errors(draw: st.DrawFn) -> tuple[tuple[str | int, ...], str]:
    """A known key, and the same with one letter left out, added, or replaced."""
    place = draw(st.sampled_from(_KEYS))
    key = str(place[-1])
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from(string.ascii_lowercase + "_"))
    before, after = key[:at], key[at + 1 :]
    wrong = draw(st.sampled_from([before + after, before + letter + key[at] + after, before + letter + after]))
    assume(wrong)
    return place, wrong


def _one_apart(left: str, right: str) -> bool:
    """Whether one letter left out, added or replaced turns one into the other."""
    if len(left) > len(right):
        left, right = right, left
    if len(right) - len(left) > 1:
        return False
    at = next((index for index, letter in enumerate(left) if letter != right[index]), len(left))
    return left[at:] == right[at + 1 :] or left[at + 1 :] == right[at + 1 :]


def _text_with(place: tuple[str | int, ...], key: str) -> str:
    """A file with that key at that place; names that people choose are called ``name``."""
    value: Any = {key: 1}
    for above in reversed(place[:-1]):
        value = [value] if above == "*" and place[0] == "generation" else {"name" if above == "*" else above: value}
    return yaml.safe_dump(value)


@settings(max_examples=400, deadline=None)
@given(typing_errors())
@example((("log",), "lg"))
@example((("model", "rows"), "row"))
@example((("models",), "modelz"))
def test_a_typing_error_is_answered_with_the_nearest_key(error: tuple[tuple[str | int, ...], str]) -> None:
    """One letter wrong in any key: the key that is named is one letter away."""
    place, wrong = error
    siblings = {other[-1] for other in _KEYS if other[:-1] == place[:-1]}
    assume(wrong not in siblings)
    assume(any(len(key) > 2 and _one_apart(key, wrong) for key in siblings))  # of two letters, one is half the word
    with pytest.raises(SettingsFault) as raised:
        _loaded(_text_with(place, wrong))
    lines = [line for line in raised.value.message.splitlines() if f"{wrong}: no such setting" in line]
    assert len(lines) == 1, raised.value.message
    suggested = lines[0].rpartition("Did you mean ")[2].removesuffix("?").rpartition(".")[2]
    assert suggested in siblings
    assert _one_apart(suggested, wrong)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([place for place in _KEYS if "*" not in place and len(place) > 1]), st.data())
def test_a_typing_error_in_a_variable_is_answered_too(place: tuple[str, ...], data: st.DataObject) -> None:
    """PARLEY_… with one letter of its last part doubled names the right variable."""
    name = "PARLEY_" + "__".join(place).upper()
    at = data.draw(st.integers(len(name) - len(place[-1]), len(name) - 1))
    assume(name[at] != "_")
    wrong = name[:at] + name[at] + name[at:]
    with pytest.raises(SettingsFault) as raised:
        _loaded("", {wrong: "1"})
    assert raised.value.message == f"{wrong}: no such setting. Did you mean {name}?"


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 65535), st.integers(1, 65535), st.booleans(), st.booleans())
def test_precedence(of_file: int, of_variable: int, in_file: bool, in_environment: bool) -> None:
    """Environment, else file, else default; and its origin is told."""
    assume({7233, 8233}.isdisjoint({of_file, of_variable}))
    loaded = _loaded(
        f"gateway: {{port: {of_file}}}" if in_file else "",
        {"PARLEY_GATEWAY__PORT": str(of_variable)} if in_environment else {},
    )
    assert loaded.gateway.port == (of_variable if in_environment else of_file if in_file else 8088)
    origin = loaded.origins.exact(("gateway", "port"))
    if in_environment:
        assert origin == "PARLEY_GATEWAY__PORT"
    else:
        assert (origin is not None) == in_file
