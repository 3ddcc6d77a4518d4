"""The effective settings as text: every value with where it comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from settings.origins import Place, dotted
from settings.passwords import hide_passwords
from settings.schema import Settings

__all__ = ["as_json", "as_yaml"]

DEFAULT = "default"
_COLUMN = 56
_LINE_BREAKS = "\x85\u2028\u2029"


def as_yaml(settings: Settings) -> str:
    """A file that gives the same settings (passwords aside), each line saying where its value was given."""
    return "".join(f"{line}\n" for line in _lines(settings, settings, ()))


def as_json(settings: Settings) -> dict[str, Any]:
    """``settings`` as values, ``origins`` by dotted name."""
    origins = {dotted(place): settings.origins.exact(place) or DEFAULT for place in _leaves(settings, ())}
    return {"file": settings.origins.file, "settings": _plain(settings), "origins": origins}


def _items(value: Any) -> list[tuple[str, Any]] | None:
    """What stands below, or None for a value that is shown on one line."""
    if isinstance(value, BaseModel):
        return [(name, getattr(value, name)) for name in type(value).model_fields]
    return list(value.items()) if isinstance(value, Mapping) and value else None


def _lines(settings: Settings, value: Any, place: Place) -> Iterator[str]:
    indent = "  " * len(place)
    for key, below in _items(value) or ():
        here = (*place, key)
        name = _scalar(key)
        if _items(below) is not None:
            yield f"{indent}{name}:"
            yield from _lines(settings, below, here)
        else:
            shown = f"{indent}{name}: {_scalar(_plain(below))}"
            yield f"{shown:<{_COLUMN}}  # {settings.origins.exact(here) or DEFAULT}"


def _leaves(value: Any, place: Place) -> Iterator[Place]:
    for key, below in _items(value) or ():
        if _items(below) is None:
            yield (*place, key)
        else:
            yield from _leaves(below, (*place, key))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(below) for name, below in _items(value) or ()}
    if isinstance(value, Mapping):
        return {key: _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        # entries of lists are short forms: what they leave out is left out
        return [_plain_entry(below) for below in value]
    if isinstance(value, str | Path):
        return hide_passwords(str(value))
    return value


def _plain_entry(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, BaseModel) else _plain(value)


def _scalar(value: Any) -> str:
    text = _dumped(value, allow_unicode=True)
    if any(mark in text for mark in _LINE_BREAKS):
        # with allow_unicode PyYAML leaves these as they are, and takes them for line breaks when it reads them
        return _dumped(value, default_style='"')
    # a text of several lines stays on one as JSON, which is YAML too
    return json.dumps(value, ensure_ascii=False) if "\n" in text else text


def _dumped(value: Any, **style: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize, **style)
    return text.removesuffix("\n").removesuffix("\n...")
