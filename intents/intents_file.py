"""Reads an intents file: what people may want, with example sentences, and what happens then."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dialogue.faults import IntentsFault

__all__ = ["MIN_EXAMPLES", "Intent", "IntentsFile", "OutOfScope", "line_of", "load", "same_sentence_key"]

MIN_EXAMPLES = 5
"""Fewer sentences than that, in a language, teach nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Intent(_Part):
    """One thing people may want. ``template`` names the fixed text where ``route`` is ``template``."""

    description: dict[str, str] = Field(default_factory=dict)
    route: Literal["retrieve", "generate", "template", "human"]
    template: str | None = None
    examples: dict[str, tuple[str, ...]]


class OutOfScope(_Part):
    """What is said to messages that are none of the intents, and sentences of that sort."""

    reply: dict[str, str]
    examples: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class IntentsFile(_Part):
    """A checked intents file."""

    version: Literal[1]
    intents: dict[str, Intent] = Field(min_length=2)
    templates: dict[str, dict[str, str]] = Field(default_factory=dict)
    out_of_scope: OutOfScope

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that intents have example sentences in, sorted."""
        return tuple(sorted({language for intent in self.intents.values() for language in intent.examples}))

    @property
    def digest(self) -> str:
        """SHA-256 over the content, hexadecimal; comments and layout do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def sentences(self, language: str) -> Iterator[tuple[str, str | None]]:
        """``(sentence, intent)`` of that language; the intent of an out-of-scope sentence is ``None``."""
        for name, intent in self.intents.items():
            for sentence in intent.examples.get(language, ()):
                yield sentence, name
        for sentence in self.out_of_scope.examples.get(language, ()):
            yield sentence, None


def load(path: Path) -> IntentsFile:
    """Raises IntentsFault: one line with file, line, key, what is wrong and the way out."""
    import yaml

    try:
        content = path.read_text(encoding="utf-8-sig")
        tree = yaml.compose(content, Loader=yaml.SafeLoader)
        mapping: Any = yaml.safe_load(content)
    except FileNotFoundError:
        raise IntentsFault(f"{path}: no such file; correct intents.file", field="intents.file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise IntentsFault(f"{path}: cannot be read as UTF-8 text ({error})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise IntentsFault(f"{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
    try:
        file = IntentsFile.model_validate(mapping)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _fault(path, tree, tuple(first["loc"]), _explained(first)) from error
    for keys, problem in _problems(file):
        raise _fault(path, tree, keys, problem)
    return file


def same_sentence_key(sentence: str) -> str:
    """Equal for two sentences that differ in case, width, spaces and punctuation only."""
    folded = unicodedata.normalize("NFKC", sentence).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded.strip()


def line_of(tree: Any, keys: tuple[int | str, ...]) -> int | None:
    """The line, from 1, of the deepest part of ``keys`` that a composed YAML ``tree`` has."""
    line: int | None = None
    node = tree
    for key in keys:
        children = cast("list[Any]", getattr(node, "value", []))
        if isinstance(key, int):
            pairs = [(child, child) for child in children[key : key + 1]]
        else:
            pairs = [(name, value) for name, value in _named(children) if name.value == key]
        if not pairs:
            break
        named, node = pairs[0]
        line = int(named.start_mark.line) + 1
    return line


def _named(children: list[Any]) -> list[tuple[Any, Any]]:
    return [child for child in children if isinstance(child, tuple)]


def _fault(path: Path, tree: Any, keys: tuple[int | str, ...], problem: str) -> IntentsFault:
    line = line_of(tree, keys)
    field = ".".join(map(str, keys))
    return IntentsFault(f"{path}{f':{line}' if line else ''}: {field}: {problem}", field=field)


def _explained(error: Any) -> str:
    place, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        return "no such key; remove it or correct its spelling"
    if kind == "missing":
        return "is missing; add it"
    if place and place[-1] == "route":
        return f"no such route {error['input']!r}; it is retrieve, generate, template or human"
    return f"{error['msg']} (it is {str(error['input'])[:60]!r})"


def _problems(file: IntentsFile) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for name, intent in file.intents.items():
        yield from _template_problems(file, name, intent)
        if not intent.examples:
            yield ("intents", name, "examples"), "has no sentences; add some in each language"
        for language, sentences in intent.examples.items():
            if len(sentences) < MIN_EXAMPLES:
                yield (
                    ("intents", name, "examples", language),
                    f"has {len(sentences)} sentences; add some until there are {MIN_EXAMPLES}, better 20",
                )
    if not any(text.strip() for text in file.out_of_scope.reply.values()):
        yield ("out_of_scope", "reply"), "has no text; write one in each language"
    yield from _doubled(file)


def _template_problems(file: IntentsFile, name: str, intent: Intent) -> Iterator[tuple[tuple[str, ...], str]]:
    place = ("intents", name, "template")
    if intent.route != "template":
        if intent.template is not None:
            yield place, f"is given but the route is {intent.route}; set it to null or the route to template"
    elif intent.template is None:
        yield place, "is missing, and the route is template; name one of templates"
    elif intent.template not in file.templates:
        there = ", ".join(file.templates) or "none"
        yield place, f"there is no template {intent.template!r} under templates (there: {there})"
    else:
        missing = [language for language in intent.examples if not file.templates[intent.template].get(language)]
        if missing:
            yield ("templates", intent.template), f"has no text in {missing[0]!r}; write one"


def _doubled(file: IntentsFile) -> Iterator[tuple[tuple[int | str, ...], str]]:
    seen: dict[str, str] = {}
    places = [
        *((("intents", name, "examples"), intent.examples, name) for name, intent in file.intents.items()),
        (("out_of_scope", "examples"), file.out_of_scope.examples, "out_of_scope"),
    ]
    for keys, examples, owner in places:
        for language, sentences in examples.items():
            for number, sentence in enumerate(sentences):
                place = (*keys, language, number)
                if not sentence.strip():
                    yield place, "is empty; remove it"
                elif seen.setdefault(same_sentence_key(sentence), owner) != owner:
                    other = seen[same_sentence_key(sentence)]
                    yield place, f"{sentence!r} stands under {other} too; keep it in one place"
