"""Settings given as variables: ``PARLEY_MODEL__NAME`` is ``model.name``.

pydantic-settings' own source drops variables it cannot place and names no variable in its errors; this one names
each. Lists and mappings are written as JSON (or YAML in flow style), ``null`` empties what may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from settings.origins import Place, Problem
from settings.tree import RENAMED, Branch, nearest, setting_names

__all__ = ["CONFIG", "PREFIX", "Environment", "read", "variable"]

PREFIX = "PARLEY_"
DELIMITER = "__"
CONFIG = "PARLEY_CONFIG"
_LIST = "docs/configuration.md lists them all"
_NOT_SETTINGS = re.compile(rf"{CONFIG}$|{PREFIX}(?:MODEL|REGISTRY)_TOKEN$|{PREFIX}TEST_")


@dataclass(slots=True)
class Environment:
    """What the variables say: nested values, which variable said it, and what could not be used."""

    values: dict[str, Any] = field(default_factory=dict)
    variables: dict[tuple[str, ...], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def variable(place: Place) -> str:
    """The variable that sets a place: ``PARLEY_GATEWAY__PORT``."""
    return PREFIX + DELIMITER.join(_folded(str(key)).upper() for key in place)


def read(environ: Mapping[str, str], root: Branch, below: Mapping[str, Any]) -> Environment:
    """The settings among ``environ``. ``below`` holds what they override: chosen names are looked up in it."""
    found = Environment()
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX) and not _NOT_SETTINGS.match(name):
            _take(name, text, root, below, found)
    return found


def _take(name: str, text: str, root: Branch, below: Any, found: Environment) -> None:
    place: tuple[str, ...] = ()
    at: Branch = root
    for word in name.removeprefix(PREFIX).split(DELIMITER):
        known = tuple(below) if isinstance(below, Mapping) else ()
        key = _key(word, at, known)
        child = at.child(key) if key and at.kind in ("section", "table", "free") else None
        if key is None or child is None:
            found.problems.append(_unknown(name, word, place, at, root))
            return
        below = below.get(key) if isinstance(below, Mapping) else None
        place, at = (*place, key), child
    try:
        value = _value(text, at)
    except yaml.YAMLError:
        found.problems.append(Problem(place, 'is no JSON. Write it like ["en", "zh"] or {"key": 1}', name))
        return
    _put(found.values, place, value)
    found.variables.update(dict.fromkeys(_places(value, place), name))


def _folded(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", key).lower()


def _key(word: str, at: Branch, known: Iterable[str]) -> str | None:
    """The key that a word of a variable's name stands for; a new name is taken in small letters."""
    for key in (*(at.keys or ()), *known):
        if _folded(str(key)) == word.lower():
            return key
    return word.lower() or None if at.keys is None else None


def _value(text: str, at: Branch) -> Any:
    if at.nullable and at.kind != "free" and text.strip() == "null":
        return None
    # single values stay texts: pydantic reads numbers and truth values from them
    return text if at.kind == "value" else yaml.safe_load(text)


def _put(values: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        below = values.get(key)
        values[key] = below if isinstance(below, dict) else {}
        values = values[key]
    values[place[-1]] = value


def _places(value: Any, place: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    yield place
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from _places(below, (*place, str(key)))


def _unknown(name: str, word: str, place: Place, at: Branch, root: Branch) -> Problem:
    if at.kind == "list":
        return Problem(place, f"no such setting. Give the whole list to {variable(place)}, as JSON", name)
    if (*place, word.lower()) in RENAMED:
        return Problem(place, f"was renamed. It is now {variable(RENAMED[(*place, word.lower())])}", name)
    # one underscore where two belong is the likeliest slip, so both count alike
    named = {_single(variable(other)): variable(other) for other in setting_names(root) if "*" not in other}
    found = nearest(word.lower(), at.keys or ()) if _single(name) not in named else None
    if found:
        return Problem(place, f"no such setting. Did you mean {variable((*place, found))}?", name)
    likely = nearest(_single(name), named)
    return Problem(place, f"no such setting. {f'Did you mean {named[likely]}?' if likely else _LIST}", name)


def _single(name: str) -> str:
    return name.removeprefix(PREFIX).replace(DELIMITER, "_")
