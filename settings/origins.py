"""Where settings come from: a line of the file, a variable of the environment, or a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FILE_NAME", "Origins", "Place", "Problem", "Reference", "dotted"]

FILE_NAME = "temporal.yaml"

Place = tuple[str | int, ...]
"""A setting as the keys and list positions that lead to it: ``("generation", "ladder", "empty", 0)``."""


def dotted(place: Place) -> str:
    """The name people read: ``generation.ladder.empty[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).removeprefix(".")


class Reference:
    """Marks a text as ``wheel:<package>`` or a path, which is then relative to the file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one setting, and the way out."""

    place: Place
    message: str
    origin: str | None = None
    """``file:line`` or a variable, where it is known better than ``place`` tells."""

    @property
    def setting(self) -> str:
        return dotted(self.place)


@dataclass(frozen=True, eq=False)
class Origins:
    """Where each setting was given. Two of them are always equal: settings are the same wherever they stand.

    ``lines`` and ``variables`` are keyed by places whose list positions are texts.
    """

    file: str = FILE_NAME
    root: Path = field(default_factory=Path)
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    variables: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def exact(self, place: Place) -> str | None:
        """``temporal.yaml:38`` or a variable's name; None for a default."""
        keys = tuple(map(str, place))
        if keys in self.variables:
            return self.variables[keys]
        return f"{self.file}:{self.lines[keys]}" if keys in self.lines else None

    def nearest(self, setting: str | Place) -> str:
        """The origin of the setting, else of the nearest one around it, else the file's name."""
        place = setting
        if isinstance(place, str):
            place = tuple(place.replace("[", ".").replace("]", "").split("."))
        while place:
            if found := self.exact(place):
                return found
            place = place[:-1]
        return self.file

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origins)

    def __hash__(self) -> int:
        return hash(Origins)
