"""What pydantic found wrong with a caller's fields, in one plain line each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dialogue.faults import InvalidRequest

__all__ = ["MOST_ERRORS", "parse", "parse_query"]

Parsed = TypeVar("Parsed", bound=BaseModel)
MOST_ERRORS = 20
"""Told of one request: a body of a megabyte may have a hundred thousand."""
_LONGEST = 60
_Context = Mapping[str, Any]

_MUST: dict[str, Callable[[_Context], str]] = {
    "bool_type": lambda _: "true or false",
    "dict_type": lambda _: "an object",
    "float_parsing": lambda _: "a number",
    "float_type": lambda _: "a number",
    "greater_than_equal": lambda context: f"at least {context['ge']:g}",
    "int_from_float": lambda _: "a whole number",
    "int_parsing": lambda _: "a whole number",
    "int_parsing_size": lambda _: "a smaller number",
    "int_type": lambda _: "a whole number",
    "less_than": lambda context: f"less than {context['lt']:.19g}",
    "less_than_equal": lambda context: f"at most {context['le']:.17g}",
    "list_type": lambda _: "a list",
    "literal_error": lambda context: context["expected"],
    "model_attributes_type": lambda _: "an object",
    "model_type": lambda _: "an object",
    "string_pattern_mismatch": lambda _: "letters, digits and . _ : @ + - only, a letter or digit first",
    "string_type": lambda _: "text",
    "too_long": lambda context: f"a list of at most {context['max_length']}",
    "too_short": lambda context: f"a list of at least {context['min_length']}",
}


def parse(kind: type[Parsed], value: Mapping[str, Any]) -> Parsed:
    """``value`` as ``kind``. Raises InvalidRequest; its ``details["errors"]`` has one entry for each bad field, of the
    first :data:`MOST_ERRORS`."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
    told = (_problem(kind, one) for one in found[:MOST_ERRORS])
    errors = [{"field": place, "detail": detail} for place, detail in told]
    first = errors[0]
    more = "" if len(found) == 1 else f" ({len(found) - 1} more{_where(len(found))}.)"
    raise InvalidRequest(f"{first['detail']}{more}", field=first["field"], errors=errors)


def _where(count: int) -> str:
    return " below errors" if count <= MOST_ERRORS else f", {MOST_ERRORS - 1} of them below errors"


def parse_query(kind: type[Parsed], items: Iterable[tuple[str, str]]) -> Parsed:
    """A query string's parameters as ``kind``, each given once at most."""
    values: dict[str, str] = {}
    for name, value in items:
        if name in values:
            raise InvalidRequest(f"{name[:_LONGEST]}: is given twice. Give it once.", field=name[:_LONGEST])
        values[name] = value
    return parse(kind, values)


def _problem(kind: type[BaseModel], error: Any) -> tuple[str, str]:
    place = ".".join(_short(str(part)) for part in error["loc"]) or "body"
    return place, f"{place}: {_what(kind, error)}."


def _what(kind: type[BaseModel], error: Any) -> str:
    name, context, value = error["type"], error.get("ctx", {}), error["input"]
    if name == "missing":
        return "is missing. Give it a value"
    if name == "extra_forbidden":
        return _no_such_field(kind, error["loc"])
    if name == "string_too_long":
        return f"has {len(value)} characters. Send at most {context['max_length']}"
    if name == "string_too_short":
        return "is empty. Send at least one character"
    if name in _MUST:
        return f"must be {_MUST[name](context)}, but is {_shown(value)}"
    return str(error["msg"]).removeprefix("Value error, ")


def _no_such_field(kind: type[BaseModel], place: tuple[Any, ...]) -> str:
    name, *inside = place
    if inside:
        return "no such field. Leave it out"
    known = list(kind.model_fields)
    near = next(iter(difflib.get_close_matches(str(name), known, n=1)), None)
    return f"no such field. Did you mean {near}?" if near else f"no such field. There are: {', '.join(known)}"


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list" if len(value) else "empty"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
