"""A YAML file as values and the line of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dialogue.faults import SettingsFault
from settings.origins import Place, dotted

__all__ = ["Document", "read"]

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and on which line it says it (the first line is 1)."""

    values: dict[str, Any]
    lines: dict[tuple[str, ...], int]


def read(path: Path) -> Document:
    """The file's mapping; an empty file is an empty one.

    Raises :class:`SettingsFault`, with file and line, when the file is missing or unreadable, is no YAML, is no
    mapping or gives a key twice.
    """
    loader = _Loader(_text(path))
    try:
        node = loader.get_single_node()
        if node is None:
            return Document({}, {})
        twice = list(_duplicates(node))
        # constructing resolves merge keys in the nodes too, so lines are taken afterwards
        values = loader.construct_document(node)
        lines = dict(_lines(node, ()))
    except (yaml.YAMLError, _Endless) as fault:
        raise SettingsFault(_syntax(path, fault)) from None
    finally:
        loader.dispose()
    if twice:
        text = "\n".join(
            f"{path}:{line}: {dotted(place)}: given twice, first on line {first}. Keep one"
            for place, line, first in twice
        )
        raise SettingsFault(text, field=dotted(twice[0][0]))
    if not isinstance(values, dict):
        raise SettingsFault(f"{path}:{node.start_mark.line + 1}: must hold settings, one `name: value` a line")
    return Document(values, lines)


class _Loader(yaml.SafeLoader):
    """Dates stay texts: no setting is one. A number that cannot be read is named with its line."""

    yaml_implicit_resolvers = {  # noqa: RUF012 PyYAML's own attribute
        first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as fault:
            raise yaml.constructor.ConstructorError(None, None, str(fault), node.start_mark) from None


class _Endless(Exception):
    def __init__(self, node: yaml.Node) -> None:
        self.line = node.start_mark.line + 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        way_out = "Run parley in the folder that holds it, or name it with --config or PARLEY_CONFIG"
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise SettingsFault(f"{path}: no such file{where}. {way_out}") from None
    except UnicodeDecodeError as fault:
        line = fault.object[: fault.start].count(b"\n") + 1
        raise SettingsFault(f"{path}:{line}: is not UTF-8. Save the file as UTF-8") from None
    except OSError as fault:
        raise SettingsFault(f"{path}: cannot be read: {fault.strerror}") from None


def _syntax(path: Path, fault: Exception) -> str:
    if isinstance(fault, _Endless):
        return f"{path}:{fault.line}: refers to itself"
    if isinstance(fault, yaml.MarkedYAMLError):
        mark = fault.problem_mark or fault.context_mark
        line = f":{mark.line + 1}" if mark else ""
        said = " ".join(part for part in (fault.context, fault.problem) if part)
        return f"{path}{line}: is not YAML: {said}"
    return f"{path}: is not YAML: {' '.join(str(fault).split())}"


def _key(node: yaml.Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else f"line {node.start_mark.line + 1}"


def _duplicates(node: yaml.Node, place: Place = (), above: tuple[int, ...] = ()) -> Iterator[tuple[Place, int, int]]:
    if id(node) in above:
        raise _Endless(node)
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = _key(key), key.start_mark.line + 1
            if name in first and key.tag != _MERGE:
                yield (*place, name), line, first[name]
            first.setdefault(name, line)
            yield from _duplicates(value, (*place, name), above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _duplicates(value, (*place, index), above)


def _lines(node: yaml.Node, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*place, _key(key))
            yield below, key.start_mark.line + 1
            yield from _lines(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*place, str(index)), value.start_mark.line + 1
            yield from _lines(value, (*place, str(index)))
