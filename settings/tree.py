"""The schema as a tree: which keys stand where, and which known key is nearest to an unknown one."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from settings.origins import Place, Problem, dotted

__all__ = ["RENAMED", "Branch", "branch", "nearest", "setting_names", "unknown_keys"]


RENAMED: dict[Place, Place] = {("records", "token_log_days"): ("records", "retention", "token_log")}
"""Settings of earlier versions, and where they are now."""


@dataclass(frozen=True, slots=True)
class Branch:
    """What stands at one place.

    ``section``: the keys are the fields of ``model``. ``table``: one entry of type ``inner`` for each key, which
    is one of ``keys`` where those are fixed. ``list``: entries of type ``inner``. ``free``: anything.
    ``value``: a single value of type ``annotation``.
    """

    kind: Literal["section", "table", "list", "free", "value"]
    annotation: Any
    nullable: bool = False
    model: type[BaseModel] | None = None
    keys: tuple[str, ...] | None = None
    inner: Any = None

    def child(self, key: str | int) -> Branch | None:
        """The branch below ``key``, or None where there is no such setting."""
        if self.model is not None:
            field = self.model.model_fields.get(str(key))
            return None if field is None else branch(field.annotation)
        if self.kind == "list":
            return branch(self.inner)
        if self.kind == "table":
            return branch(self.inner) if self.keys is None or key in self.keys else None
        return self if self.kind == "free" else None


def branch(annotation: Any) -> Branch:
    """The tree below a type."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not types.NoneType]
        of = branch(inner[0])
        return Branch(of.kind, of.annotation, len(inner) < len(arguments), of.model, of.keys, of.inner)
    if annotation is Any:
        return Branch("free", annotation, nullable=True)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Branch("section", annotation, model=annotation, keys=tuple(annotation.model_fields))
    if origin is dict:
        fixed = get_args(arguments[0]) if get_origin(arguments[0]) is Literal else None
        return Branch("table", annotation, keys=fixed, inner=arguments[1])
    if origin is tuple:
        return Branch("list", annotation, inner=arguments[0])
    return Branch("value", annotation)


def setting_names(of: Branch, place: Place = ()) -> Iterator[Place]:
    """Every place below, an asterisk standing for the names people choose and for positions in lists."""
    below: dict[str, Any] = {}
    if of.kind in ("section", "table") and of.keys is not None:
        below = {key: of.child(key) for key in of.keys}
    elif of.kind in ("list", "table"):
        below = {"*": branch(of.inner)}
    for key, child in below.items():
        yield (*place, key)
        if child is not None:
            yield from setting_names(child, (*place, key))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, or None where none is like it."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def unknown_keys(of: Branch, value: Any, place: Place = (), root: Branch | None = None) -> Iterator[Problem]:
    """A problem for each key that is no setting, and for each truth value where a number belongs."""
    root = root or of
    if isinstance(value, Mapping) and of.kind in ("section", "table"):
        for key, below in value.items():
            child = of.child(key) if isinstance(key, str) else None
            if child is None:
                yield _unknown(key, of, place, root)
            else:
                yield from unknown_keys(child, below, (*place, key), root)
    elif isinstance(value, list) and of.kind == "list":
        for index, below in enumerate(value):
            yield from unknown_keys(branch(of.inner), below, (*place, index), root)
    elif isinstance(value, bool) and of.annotation in (int, float):
        # pydantic would take `true` as 1, and YAML reads `yes` and `on` as true
        yield Problem(place, f"must be a number, but is {str(value).lower()}")
    elif value is None and not of.nullable and place:
        what = "a list" if of.kind == "list" else "a setting"
        yield Problem(place, f"is empty. Give it {'a value' if of.kind == 'value' else what}, or take the line away")


def _unknown(key: Any, of: Branch, place: Place, root: Branch) -> Problem:
    here = (*place, key if isinstance(key, str) else str(key))
    if not isinstance(key, str):
        return Problem(here, f"{key!r} is no name. Write it in quotes")
    if here in RENAMED:
        return Problem(here, f"was renamed. It is now {dotted(RENAMED[here])}")
    if found := nearest(key, of.keys or ()):
        return Problem(here, f"no such setting. Did you mean {dotted((*place, found))}?")
    elsewhere = [name for name in setting_names(root) if name[-1] == key and "*" not in name]
    if elsewhere:
        return Problem(here, f"no such setting. Did you mean {dotted(elsewhere[0])}?")
    return Problem(here, f"no such setting. There are: {', '.join(of.keys or ())}")
