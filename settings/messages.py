"""What pydantic found wrong, in one plain line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from settings.origins import Place, Problem
from settings.tree import nearest

__all__ = ["problems_of"]

_LONGEST = 60
_FORMS = {
    r"^[^\s:]+:\d{1,5}$": "host:port",
    r"^(cpu|cuda(:\d+)?)$": "cpu, cuda or cuda:N",
    r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$": "http://host:port or https://host:port, without a name or password",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "the name of an environment variable",
}
_Context = Mapping[str, Any]

_MUST: dict[str, Callable[[_Context], str]] = {
    "bool_parsing": lambda _: "true or false",
    "bool_type": lambda _: "true or false",
    "dict_type": lambda _: "a mapping, one `name: value` a line",
    "finite_number": lambda _: "a finite number",
    "float_parsing": lambda _: "a number",
    "float_type": lambda _: "a number",
    "greater_than": lambda context: f"more than {context['gt']:g}",
    "greater_than_equal": lambda context: f"at least {context['ge']:g}",
    "int_from_float": lambda _: "a whole number",
    "int_parsing": lambda _: "a whole number",
    "int_parsing_size": lambda _: "a smaller number",
    "int_type": lambda _: "a whole number",
    "less_than": lambda context: f"less than {context['lt']:g}",
    "less_than_equal": lambda context: f"at most {context['le']:g}",
    "model_attributes_type": lambda _: "a mapping, one `name: value` a line",
    "model_type": lambda _: "a mapping, one `name: value` a line",
    "path_type": lambda _: "a path",
    "string_pattern_mismatch": lambda context: _FORMS.get(context["pattern"], f"text of the form {context['pattern']}"),
    "string_too_long": lambda context: f"at most {context['max_length']} characters",
    "string_too_short": lambda context: f"at least {context['min_length']} characters",
    "string_type": lambda _: "text (write it in quotes)",
    "too_short": lambda context: f"a list of at least {context['min_length']}",
    "tuple_type": lambda _: "a list",
}


def problems_of(fault: ValidationError) -> Iterator[Problem]:
    """One problem for each error; keys that are unknown are left to :func:`settings.tree.unknown_keys`."""
    for error in fault.errors(include_url=False):
        place: Place = error["loc"]
        kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
        if place and place[-1] == "[key]":
            yield Problem(place[:-1], _about_name(kind, context, place[-2]))
        elif kind == "impossible":
            yield from (Problem((*place, *problem.place), problem.message) for problem in context["problems"])
        elif kind == "missing":
            yield Problem(place, "is missing. Give it a value")
        elif kind == "literal_error":
            yield Problem(place, _one_of(context["expected"], value))
        elif kind in _MUST:
            yield Problem(place, f"must be {_MUST[kind](context)}, but is {_shown(value)}")
        elif kind not in ("extra_forbidden", "invalid_key"):
            yield Problem(place, error["msg"].removeprefix("Value error, "))


def _about_name(kind: str, context: _Context, name: Any) -> str:
    if kind == "literal_error":
        return f"no such setting. There are: {context['expected']}"
    if not isinstance(name, str):
        return f"{name!r} is no name. Write it in quotes"
    return f"{name!r} is no name. Use letters, digits and . _ : @ + - only"


def _one_of(expected: str, value: Any) -> str:
    known = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    choice = " or ".join(known) if len(known) < 3 else f"one of {', '.join(known)}"
    found = nearest(value, known) if isinstance(value, str) else None
    return f"must be {choice}, but is {_shown(value)}" + (f". Did you mean {found}?" if found else "")


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
