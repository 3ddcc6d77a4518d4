"""Reads ``temporal.yaml``: environment over file over defaults, each mistake named with its line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dialogue.faults import SettingsFault
from settings import environment, yaml_file
from settings.messages import problems_of
from settings.origins import FILE_NAME, Origins, Place, Problem, Reference
from settings.schema import Settings
from settings.tree import branch, unknown_keys

__all__ = ["check_section", "fault_of", "load"]


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of ``path``, else of ``PARLEY_CONFIG``, else of ``temporal.yaml`` in the current folder.

    Paths in the result are absolute; those of the file are relative to its folder. Raises
    :class:`SettingsFault` whose message has one line for each problem, beginning with ``file:line`` or with the
    variable's name; ``details["problems"]`` holds them as :class:`~settings.origins.Problem`.
    """
    environ = os.environ if environ is None else environ
    file = Path(path or environ.get(environment.CONFIG) or FILE_NAME)
    document = yaml_file.read(file)
    root = branch(Settings)
    below = _named_defaults(document.values)
    found = environment.read(environ, root, below)
    origins = Origins(
        file=str(file),
        root=file.absolute().parent,
        lines={place: line for place, line in document.lines.items() if not _replaced(place, found)},
        variables=found.variables,
    )
    problems = [*found.problems, *unknown_keys(root, document.values), *unknown_keys(root, found.values)]
    try:
        settings = Settings.model_validate(_merged(found.values, document.values, below))
    except ValidationError as fault:
        problems = _joined(problems, problems_of(fault))
    if problems:
        raise fault_of(problems, origins)
    return _anchored(settings, origins)


def check_section(model: type[BaseModel], values: Any, place: Place) -> list[Problem]:
    """What is wrong with the mapping at ``place``, which the schema passes through, when read as ``model``."""
    problems = list(unknown_keys(branch(model), values, place))
    try:
        model.model_validate(values)
    except ValidationError as fault:
        found = (Problem((*place, *problem.place), problem.message) for problem in problems_of(fault))
        problems = _joined(problems, found)
    return problems


def _named_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """The file's values and, where it leaves out a table of names, the built-in one: a variable overrides inside it."""
    defaults = Settings().model_dump(include={"pools", "steps", "policies", "tenants", "generation"})
    defaults["generation"] = {"ladder": defaults["generation"]["ladder"]}
    return {**defaults, **values}


def _joined(first: list[Problem], more: Iterable[Problem]) -> list[Problem]:
    """Both; of two problems at one place the first is kept."""
    known = {tuple(map(str, problem.place)) for problem in first}
    return [*first, *(problem for problem in more if tuple(map(str, problem.place)) not in known)]


class _Given(PydanticBaseSettingsSource):
    """Values that were read already."""

    def __init__(self, settings_cls: type[BaseSettings], values: Mapping[Any, Any]) -> None:
        super().__init__(settings_cls)
        self.values = {key: value for key, value in values.items() if isinstance(key, str)}

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self.values


def _merged(*values: Mapping[Any, Any]) -> dict[str, Any]:
    """The first given wins, mapping by mapping."""

    class Sources(BaseSettings):
        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_Given(settings_cls, given) for given in values)

    return dict(Sources().model_extra or {})


def _replaced(place: tuple[str, ...], found: environment.Environment) -> bool:
    return any(place[:length] in found.variables for length in range(1, len(place) + 1))


def fault_of(problems: Sequence[Problem], origins: Origins) -> SettingsFault:
    """One fault with a line for each problem, in the order of the file; variables come last."""
    lines: set[tuple[int, str]] = set()
    for problem in problems:
        origin = problem.origin or origins.nearest(problem.place)
        # a variable's name says already which setting it is, unless it holds several
        alone = not problem.place or problem.origin or origin == environment.variable(problem.place)
        text = f"{origin}: {problem.message}" if alone else f"{origin}: {problem.setting}: {problem.message}"
        line = origin.rpartition(":")[2]
        lines.add((int(line) if line.isdecimal() else sys.maxsize, text))
    message = "\n".join(text for _, text in sorted(lines))
    return SettingsFault(message, field=problems[0].setting, problems=tuple(problems))


def _anchored(settings: Settings, origins: Origins) -> Settings:
    """The same settings with absolute paths."""
    anchored = _absolute(settings, origins.root)
    database = anchored.temporal.dev_server.database
    if settings.temporal.dev_server.database is not None and database is not None:
        below = anchored.data / settings.temporal.dev_server.database
        server = anchored.temporal.dev_server.model_copy(update={"database": below})
        temporal = anchored.temporal.model_copy(update={"dev_server": server})
        anchored = anchored.model_copy(update={"temporal": temporal})
    anchored._origins = origins
    return anchored


def _absolute(value: Any, root: Path) -> Any:
    if isinstance(value, Path):
        return Path(os.path.normpath(root / value.expanduser()))
    if isinstance(value, tuple):
        return tuple(_absolute(item, root) for item in value)
    if isinstance(value, dict):
        return {key: _absolute(item, root) for key, item in value.items()}
    if not isinstance(value, BaseModel):
        return value
    changed: dict[str, Any] = {}
    for name, field in type(value).model_fields.items():
        given = getattr(value, name)
        if any(isinstance(mark, Reference) for mark in field.metadata):
            changed[name] = given if given.startswith(("wheel:", "registry:")) else str(_absolute(Path(given), root))
        else:
            changed[name] = _absolute(given, root)
    return value.model_copy(update={name: new for name, new in changed.items() if new is not getattr(value, name)})
