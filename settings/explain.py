"""Writes ``docs/configuration.md`` and its Chinese twin out of the schema, so that they cannot lie.

``python -m settings.explain`` writes them, ``--check`` exits 1 where they are out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from settings.schema import Settings
from settings.tree import Branch, branch

__all__ = ["PAGES", "page", "sentence"]

Language = Literal["en", "zh"]
PAGES: dict[Language, str] = {"en": "docs/configuration.md", "zh": "docs/configuration.zh-CN.md"}


@cache
def _table(name: str) -> dict[str, dict[str, str]]:
    return yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _words(language: Language) -> dict[str, str]:
    return _table("page_words.yaml")[language]


def sentence(model: type[BaseModel], name: str | None, language: Language) -> str:
    """What a setting, or with ``name`` None a section, is about. Raises ``KeyError`` where nobody wrote it down."""
    key = f"{model.__name__}.{name}" if name else model.__name__
    told = _table("sentences.yaml").get(key, {}).get(language)
    if told is None and language == "en":
        told = model.model_fields[name].description if name else (model.__doc__ or "").split("\n", 1)[0]
    if not told:
        raise KeyError(f"settings/sentences.yaml has no {language} sentence for {key}")
    return " ".join(told.split()).replace("``", "`")


def page(language: Language) -> str:
    """The whole page, Markdown."""
    words = _words(language)
    parts = [f"# {words['title']}\n\n{words['other']}\n\n{words['intro']}"]
    for name, field in Settings.model_fields.items():
        parts.append(f"## {name}\n\n{sentence(Settings, name, language)}\n")
        rows = list(_rows((name,), Settings, name, field, language))
        parts.append("\n".join([words["head"], "|---|---|---|---|", *rows]) + "\n")
        if name in ("steps", "generation"):
            parts.append(f"{words[name]}\n\n```yaml\n{_built_in(name)}```\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    root = Path(__file__).resolve().parent.parent
    stale: list[str] = []
    for language, path in PAGES.items():
        written = page(language)
        file = root / path
        if not file.exists() or file.read_text(encoding="utf-8") != written:
            stale.append(path)
            if "--check" not in arguments:
                file.write_text(written, encoding="utf-8")
    if stale and "--check" in arguments:
        sys.stderr.write(f"out of date: {', '.join(stale)}. Run python -m settings.explain\n")
        return 1
    return 0


def _rows(
    names: tuple[str, ...],
    model: type[BaseModel],
    key: str,
    field: FieldInfo,
    language: Language,
) -> Iterator[str]:
    """One line for the setting and one for each below it."""
    words, of = _words(language), branch(field.annotation)
    dotted = "".join(name if name == "[]" else f".{name}" for name in names).removeprefix(".")
    kind = _type(of, language) + _bounds(field, language)
    cells = (f"`{dotted}`", kind, _default(field, language), sentence(model, key, language) if names[1:] else "")
    if of.kind != "section" or of.nullable:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    while of.kind in ("list", "table"):
        names = (*names, "[]" if of.kind == "list" else _placeholder(of, key))
        of = branch(of.inner)
    if of.model is None:
        return
    if names == ("models", "<alias>"):
        yield f"| `models.<alias>.…` | | | {words['like'].format(other='model')} |"
        return
    for below, inner in of.model.model_fields.items():
        yield from _rows((*names, below), of.model, below, inner, language)


def _placeholder(of: Branch, key: str) -> str:
    return {"models": "<alias>", "steps": "<step>", "ladder": "<poor>", "template": "<language>"}.get(key, "<name>")


def _type(of: Branch, language: Language) -> str:
    words = _words(language)
    if of.kind == "list":
        kind = words["list"].format(inner=_type(branch(of.inner), language))
    elif of.kind == "table":
        kind = words["table"].format(inner=_type(branch(of.inner), language))
    elif of.kind in ("section", "free"):
        kind = words[of.kind]
    elif get_origin(of.annotation) is Literal:
        kind = words["or"].join(f"`{choice}`" for choice in get_args(of.annotation))
    else:
        kind = words[{bool: "bool", int: "int", float: "float", Path: "path"}.get(of.annotation, "text")]
    return kind + (words["or null"] if of.nullable and of.kind != "free" else "")


def _bounds(field: FieldInfo, language: Language) -> str:
    words = _words(language)
    marks = {type(mark): mark for mark in field.metadata}
    least, more, most = (marks.get(kind) for kind in (annotated_types.Ge, annotated_types.Gt, annotated_types.Le))
    if least and most:
        return words["comma"] + words["range"].format(least.ge, most.le)
    said = [words["at least"].format(least.ge)] if least else []
    said += [words["more than"].format(more.gt)] if more else []
    said += [words["at most"].format(most.le)] if most else []
    return "".join(words["comma"] + part for part in said)


def _default(field: FieldInfo, language: Language) -> str:
    default: Any = field.default
    if field.is_required():
        return _words(language)["required"]
    if default is PydanticUndefined or isinstance(default, BaseModel):
        return ""
    return f"`{default if isinstance(default, str | Path) else json.dumps(default, ensure_ascii=False)}`"


def _built_in(name: str) -> str:
    defaults = Settings().model_dump(mode="json", exclude_none=True)[name]
    if name == "generation":
        rungs = Settings().generation.ladder.items()
        defaults = {poor: [rung.model_dump(exclude_defaults=True) for rung in listed] for poor, listed in rungs}
        return yaml.safe_dump({name: {"ladder": defaults}}, sort_keys=False, default_flow_style=None, width=110)
    return yaml.safe_dump({name: defaults}, sort_keys=False, default_flow_style=None, width=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
