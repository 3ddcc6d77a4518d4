"""Replaces personal data in recorded texts, the same value by the same placeholder wherever it stands.

A placeholder is as long as what it replaces, so that recorded spans still point where they pointed, and an identifier
in an identifier's place; and where a replaced text has its SHA-256 recorded somewhere, that becomes the SHA-256 of the
text as it is now. So a redacted history still replays.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable
from typing import Any, cast

from google.protobuf.descriptor import Descriptor
from pydantic import TypeAdapter, ValidationError
from temporalio.api.history.v1 import HistoryEvent

from dialogue.messages import ANONYMOUS, TextFile, message_digest, text_digest
from policy.masking import replace_spans
from policy.normalise import normalise
from policy.personal_data import find_personal_data

__all__ = ["Redactor"]

_NAMES_A_USER = {"user": "user", "user_id": "user", "address": "address", "ip_address": "address", "caller": "caller"}
"""Fields whose whole value names a person, where they are, or what vouches for them."""
_FILES = TypeAdapter(list[TextFile])
_TOO_DEEP = "‹nested too deeply to be redacted›"
_SHORTEST_REST = 4
"""Of a value that was cut off with its text: less says nothing."""


class Redactor:
    """Learns with :meth:`learn` all that there is, then replaces: a value that is cut off in one place is known from
    another."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._known: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def learn(self, value: Any) -> None:
        """``value``: JSON, of a history (with its payloads) or of anything else."""
        self._walk(value, self._learn_text, event=_is_history(value))

    def replaced(self, value: Any) -> Any:
        return self._walk(value, self.text, event=_is_history(value))

    def text(self, text: str) -> str:
        if text in self._digests:
            return self._digests[text]
        text = self._found(text)
        return self._without_rests(text) if "…" in text else text

    def _learn_text(self, text: str) -> str:
        made = self._found(text)
        if made != text:
            self._digests[text_digest(text)] = text_digest(made)
        return text

    def _learn_message(self, value: dict[str, Any]) -> None:
        """One that brings files has a digest of them all."""
        said = value.get("text") or value.get("question") or value.get("messages")
        text = said[-1].get("content") if isinstance(said, list) and said and isinstance(said[-1], dict) else said
        files = _files(value.get("files"))
        if files and isinstance(text, str):
            made = [TextFile(name=self._found(file.name), text=self._found(file.text)) for file in files]
            self._digests[message_digest(text, files)] = message_digest(self._found(text), made)

    def _found(self, text: str) -> str:
        clean = normalise(text)
        changes: list[tuple[int, int, str]] = []
        for datum in find_personal_data(clean.text):
            start, end = clean.span(datum.start, datum.end)
            placeholder = self._placeholder(datum.kind, datum.key, end - start)
            self._known[text[start:end]] = placeholder
            changes.append((start, end, placeholder))
        return replace_spans(text, changes) if changes else text

    def _without_rests(self, text: str) -> str:
        """Before each ``…`` the beginning of a known value becomes the beginning of its placeholder."""
        parts = text.split("…")
        for place, part in enumerate(parts[:-1]):
            for value, placeholder in self._known.items():
                for length in range(len(value) - 1, _SHORTEST_REST - 1, -1):
                    if part.endswith(value[:length]):
                        parts[place] = part = part[:-length] + placeholder[:length]
                        break
        return "…".join(parts)

    def _placeholder(self, kind: str, key: str, length: int) -> str:
        numbers = self._numbers.setdefault(kind, {})
        number = numbers.setdefault(key, len(numbers) + 1)
        said = f"{kind.replace('_', '-')}-{number}"
        if len(said) > length:
            said = f"{kind[0]}{number}"
        return said.ljust(length, "_")

    def _walk(self, value: Any, of_text: Callable[[str], str], *, event: bool, name: str = "") -> Any:
        if isinstance(value, dict):
            inside = cast("dict[str, Any]", value)
            if event and _is_payload(inside):
                return self._payload(inside, of_text)
            self._learn_message(inside)
            return {of_text(key): self._walk(each, of_text, event=event, name=key) for key, each in inside.items()}
        if isinstance(value, list):
            return [self._walk(each, of_text, event=event, name=name) for each in cast("list[Any]", value)]
        if not isinstance(value, str) or (event and name in _no_texts()):
            return value
        if not event and name in _NAMES_A_USER and value not in ("", ANONYMOUS):
            kind = _NAMES_A_USER[name]
            numbers = self._numbers.setdefault(kind, {})
            return f"{kind}-{numbers.setdefault(value, len(numbers) + 1)}"
        return of_text(value)

    def _payload(self, payload: dict[str, Any], of_text: Callable[[str], str]) -> dict[str, Any]:
        made = dict(payload)
        if "metadata" in payload:  # of one that is still sealed it names its workflow
            held: dict[str, str] = payload["metadata"]
            made["metadata"] = {name: self._packed(each, of_text) for name, each in held.items()}
        return made | {"data": self._packed(payload["data"], of_text)} if "data" in payload else made

    def _packed(self, packed: str, of_text: Callable[[str], str]) -> str:
        """Both in base64: JSON, or another text. What is neither stays as it is: it was never decoded. JSON that is
        nested too deeply to be looked through is taken out whole."""
        try:
            text = base64.b64decode(packed).decode("utf-8", "surrogatepass")
        except ValueError:
            return packed
        try:
            written = self._written(text, of_text)
        except RecursionError:
            written = json.dumps(_TOO_DEEP, ensure_ascii=False)
        if written == text:
            return packed
        return base64.b64encode(written.encode("utf-8", "surrogatepass")).decode("ascii")

    def _written(self, text: str, of_text: Callable[[str], str]) -> str:
        """The text itself where nothing in it is replaced."""
        try:
            held = json.loads(text)
        except ValueError:
            return of_text(text)
        made = self._walk(held, of_text, event=False)
        return text if made == held else json.dumps(made, ensure_ascii=False, separators=(",", ":"))


@functools.cache
def _no_texts() -> frozenset[str]:
    """The fields of an event, as JSON names them, that hold no text: numbers, times, kinds; and ids of runs, which the
    server makes and a run's random numbers come from. All others may hold what a caller or an operator wrote."""
    texts, others, seen = set[str](), set[str](), set[str]()

    def look(message: Descriptor) -> None:
        seen.add(message.full_name)
        for field in message.fields:
            inner = field.message_type
            if inner is not None and not inner.full_name.startswith("google.protobuf."):
                if inner.full_name not in seen:
                    look(inner)
            elif inner is None and field.type == field.TYPE_STRING and not field.name.endswith("run_id"):
                texts.add(field.json_name)
            else:
                others.add(field.json_name)

    look(HistoryEvent.DESCRIPTOR)
    return frozenset(others - texts)


def _files(value: Any) -> list[TextFile]:
    try:
        return _FILES.validate_python(value or [])
    except ValidationError:
        return []


def _is_history(value: Any) -> bool:
    return isinstance(value, dict) and "events" in value and isinstance(cast("dict[str, Any]", value)["events"], list)


def _is_payload(value: dict[str, Any]) -> bool:
    """Within a history, whose JSON leaves out metadata that is empty."""
    return isinstance(value.get("metadata"), dict) or ("metadata" not in value and isinstance(value.get("data"), str))
