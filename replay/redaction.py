"""Replaces personal data in recorded texts, the same value by the same placeholder wherever it stands.

A placeholder is as long as what it replaces, so that recorded spans still point where they pointed; and where a
replaced text has its SHA-256 recorded somewhere, that becomes the SHA-256 of the text as it is now. So a redacted
history still replays.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, cast

from dialogue.messages import ANONYMOUS, text_digest
from policy.masking import replace_spans
from policy.normalise import normalise
from policy.personal_data import find_personal_data

__all__ = ["Redactor"]

_NAMES_A_USER = {"user": "user", "user_id": "user", "address": "address", "ip_address": "address", "caller": "caller"}
"""Fields whose whole value names a person, where they are, or what vouches for them."""
_OF_AN_EVENT = {"message", "stackTrace", "workflowId", "updateId", "protocolInstanceId"}
"""Fields of an event outside of payloads that hold a text, or an id that a caller may have chosen."""
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

    @property
    def count(self) -> int:
        """How many different values were replaced."""
        return sum(map(len, self._numbers.values()))

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
        name = kind.replace("_", " ")
        if len(name) + len(str(number)) + 3 > length:
            name = name[0]
        said = f"[{name} {number}" if len(name) > 1 else f"[{name}{number}"
        return f"{said.ljust(length - 1, '·')}]"

    def _walk(self, value: Any, of_text: Callable[[str], str], *, event: bool, name: str = "") -> Any:
        if isinstance(value, dict):
            inside = cast("dict[str, Any]", value)
            if event and _is_payload(inside):
                return self._payload(inside, of_text)
            return {key: self._walk(each, of_text, event=event, name=key) for key, each in inside.items()}
        if isinstance(value, list):
            return [self._walk(each, of_text, event=event, name=name) for each in cast("list[Any]", value)]
        if not isinstance(value, str) or (event and name not in _OF_AN_EVENT):
            return value
        if not event and name in _NAMES_A_USER and value not in ("", ANONYMOUS):
            kind = _NAMES_A_USER[name]
            numbers = self._numbers.setdefault(kind, {})
            return f"{kind}-{numbers.setdefault(value, len(numbers) + 1)}"
        return of_text(value)

    def _payload(self, payload: dict[str, Any], of_text: Callable[[str], str]) -> dict[str, Any]:
        try:
            held = json.loads(base64.b64decode(payload["data"]))
        except ValueError:  # no JSON, or never decoded
            return payload
        made = self._walk(held, of_text, event=False)
        if made == held:
            return payload
        written = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return {**payload, "data": base64.b64encode(written).decode("ascii")}


def _is_history(value: Any) -> bool:
    return isinstance(value, dict) and "events" in value and isinstance(cast("dict[str, Any]", value)["events"], list)


def _is_payload(value: dict[str, Any]) -> bool:
    return "data" in value and isinstance(value.get("metadata"), dict)
